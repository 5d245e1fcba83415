package whatif

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

func named(t *testing.T, name string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func options(kernel oom.Version) forecast.Options {
	return forecast.Options{
		Kernel:    oom.Kernel{Version: kernel, PageSize: 4096, CgroupVersion: 2, RAM: 4 << 20, CPUs: 2},
		Kubelet:   qos.Newest,
		LowestAdj: -1000,
	}
}

var linux618 = oom.Version{Major: 6, Minor: 18}

func names(victims []Victim) (out []string) {
	for _, v := range victims {
		name := v.String()
		if v.Restarted {
			name += " again"
		}
		out = append(out, name)
	}
	return out
}

// Each kind of change moves the forecast as the models have it.
func TestAnswers(t *testing.T) {
	of := func(name string) Process { return Process{Workload: name} }
	for name, tt := range map[string]struct {
		changes []Change
		want    []string
	}{
		"nothing":               {nil, []string{"best-effort", "burstable"}},
		"a request that is met": {[]Change{{What: "request", Of: of("burstable"), Memory: 800 * mem.MiB}}, []string{"best-effort", "best-effort again"}},
		"less in the victim":    {[]Change{{What: "size", Of: of("best-effort"), Memory: 150 * mem.MiB}}, []string{"burstable"}},
		"a limit of its own":    {[]Change{{What: "limit", Of: of("pressure"), Memory: 701 * mem.MiB}, {What: "size", Of: of("guaranteed"), Memory: mem.MiB}, {What: "size", Of: of("best-effort"), Memory: mem.MiB}, {What: "size", Of: of("burstable"), Memory: mem.MiB}}, []string{"pressure"}},
		"guaranteed":            {[]Change{{What: "limit", Of: of("best-effort"), Memory: 400 * mem.MiB}, {What: "class", Of: of("best-effort"), Class: qos.Guaranteed}}, []string{"burstable", "burstable again"}},
		"best-effort":           {[]Change{{What: "class", Of: of("guaranteed"), Class: qos.BestEffort}}, []string{"best-effort", "burstable"}},
		"a larger node":         {[]Change{{What: "node", Memory: 4 * mem.GiB}}, nil},
	} {
		before := named(t, "qos-order")
		after, err := Apply(before, tt.changes)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		a, err := Ask(before, after, options(linux618), options(linux618))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, names(a.VictimsAfter)); diff != "" {
			t.Errorf("%s: victims (-want +got):\n%s", name, diff)
		}
		if want := !slices.Equal(tt.want, []string{"best-effort", "burstable"}); a.Changed != want {
			t.Errorf("%s: changed %v, want %v", name, a.Changed, want)
		}
		if len(before.Expect.Killed) == 0 || len(after.Expect.Killed) != 0 {
			t.Errorf("%s: what was expected before: %v, after: %v", name, before.Expect, after.Expect)
		}
	}
}

// Kernels before 5.9 can't tell processes of negative badness apart.
func TestOtherKernel(t *testing.T) {
	s := named(t, "container-limit")
	s.Workloads[0].Limits.CPU = &scenarios.CPU{Millicores: 100}
	s.Workloads[0].Requests = scenarios.Resources{}
	s.Workloads[0].Beside = []string{"fill 60Mi"}
	same, err := Apply(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Ask(s, same, options(linux618), options(oom.Version{Major: 5, Minor: 4}))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Close || a.VictimsBefore[0].Lead == a.VictimsAfter[0].Lead {
		t.Errorf("6.18: %+v, 5.4: %+v, close %v", a.VictimsBefore, a.VictimsAfter, a.Close)
	}
}

func TestEvictions(t *testing.T) {
	before := named(t, "eviction-orderly")
	after, err := Apply(before, []Change{{What: "size", Of: Process{Workload: "burstable"}, Memory: 590 * mem.MiB}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Ask(before, after, options(linux618), options(linux618))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Changed || len(a.VictimsBefore) != 0 || fmt.Sprint(a.EvictedBefore, a.EvictedAfter, Expect(a.After).Evicted) != "[leak] [burstable] [burstable]" {
		t.Errorf("before %v, after %v, killed %v", a.EvictedBefore, a.EvictedAfter, a.VictimsAfter)
	}
}

func TestExpect(t *testing.T) {
	s := named(t, "qos-order")
	f, err := forecast.Predict(s, options(linux618))
	if err != nil {
		t.Fatal(err)
	}
	if e := Expect(f); !slices.Equal(e.Killed, []string{"best-effort", "burstable"}) || e.Kills != nil {
		t.Errorf("%+v", e)
	}
	s.Node.Memory = *scenarios.MemoryOf(8 * mem.GiB)
	if f, err = forecast.Predict(s, options(linux618)); err != nil {
		t.Fatal(err)
	}
	if e := Expect(f); e.Kills == nil || *e.Kills != 0 || len(e.Killed) != 0 {
		t.Errorf("nobody dies: %+v", e)
	}
}

func TestRefusals(t *testing.T) {
	of := func(name string) Process { return Process{Workload: name} }
	for want, c := range map[string]Change{
		`no workload is called "nobody"`:           {What: "size", Of: of("nobody")},
		`has no container "x"`:                     {What: "size", Of: Process{Workload: "burstable", Container: "x"}},
		"it presses":                               {What: "size", Of: of("pressure"), Memory: mem.MiB},
		"it has no so many processes":              {What: "size", Of: Process{Workload: "burstable", Index: 1}},
		"change its request":                       {What: "class", Of: of("best-effort"), Class: qos.Burstable},
		"change its limit as well":                 {What: "class", Of: of("best-effort"), Class: qos.Guaranteed},
		"want Guaranteed, Burstable or BestEffort": {What: "class", Of: of("best-effort"), Class: "Best"},
		"there is no such thing":                   {What: "colour", Of: of("best-effort")},
		"above the limit":                          {What: "request", Of: of("guaranteed"), Memory: mem.GiB},
		"a node needs at least":                    {What: "node", Memory: mem.MiB},
	} {
		if _, err := Apply(named(t, "qos-order"), []Change{c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	two := named(t, "qos-order")
	two.Workloads[0].Container = scenarios.Container{}
	two.Workloads[0].Containers = []scenarios.Container{{Name: "a", Balloon: "fill 10Mi"}, {Name: "b"}}
	if _, err := Apply(two, []Change{{What: "limit", Of: of(two.Workloads[0].Name), Memory: mem.GiB}}); err == nil || !strings.Contains(err.Error(), "name one of them") {
		t.Errorf("one of two containers: %v", err)
	}
}
