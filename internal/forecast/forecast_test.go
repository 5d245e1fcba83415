package forecast_test

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

func options(cgroup, lowestAdj int) forecast.Options {
	return forecast.Options{
		Kernel: oom.Kernel{
			Version: oom.Version{Major: 6, Minor: 18}, PageSize: 4096, RAM: (24 * mem.GiB).Pages(4096), CPUs: 2, CgroupVersion: cgroup,
		},
		Kubelet: qos.Newest, LowestAdj: lowestAdj,
	}
}

// Every scenario of the catalog tells what the models say, on both versions of
// cgroups and where no score can be lowered; a control that inverts an
// expectation is found out before it runs.
func TestCatalogAgreesWithTheModels(t *testing.T) {
	for _, name := range scenarios.Names() {
		s, err := scenarios.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []forecast.Options{options(1, -1000), options(2, -1000), options(1, 0), options(2, 0)} {
			if c := s.Needs.Cgroup; c != 0 && c != o.Kernel.CgroupVersion {
				continue // not true there
			}
			f, err := forecast.Predict(s, o)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			where := fmt.Sprintf("%s, cgroup v%d, scores from %d", name, o.Kernel.CgroupVersion, o.LowestAdj)
			// A control of another kind contradicts the evidence, not the model.
			inverted := s.Control != nil && slices.Contains([]string{"killed", "survive", "evicted"}, s.Control.Claim)
			if contradicted := len(f.Contradictions) > 0; contradicted != inverted {
				t.Errorf("%s: control %v, contradictions %q", where, s.Control, f.Contradictions)
			}
			if len(f.Doubts) > 0 && s.Node.Swap.Bytes == 0 {
				t.Errorf("%s: a story must not hang on a tie or a race: %q", where, f.Doubts)
			}
		}
	}
}

// Each expectation, turned around, is contradicted.
func TestContradictions(t *testing.T) {
	for _, tt := range []struct {
		scenario string
		change   func(*scenarios.Scenario)
		want     string
	}{
		{"qos-order", func(s *scenarios.Scenario) { s.Expect.Killed = []string{"burstable", "best-effort"} }, "killed: "},
		{"qos-order", func(s *scenarios.Scenario) { s.Expect.Survive = []string{"best-effort"} }, "survive: best-effort"},
		{"least-kills", func(s *scenarios.Scenario) { s.Expect.Kills = new(2) }, "kills: the scenario expects 2, the model says 1"},
		{"container-limit", func(s *scenarios.Scenario) { s.Expect.OOMCgroup = qos.LevelKubepods }, "oomCgroup: "},
		{"oom-score-misleads", func(s *scenarios.Scenario) { s.Expect.HighestOOMScore = "burstable" }, "highestOOMScore: "},
		{"qos-order", func(s *scenarios.Scenario) { s.Expect.HighestOOMScore = "best-effort" }, "nothing misleads"},
		{"eviction-orderly", func(s *scenarios.Scenario) { s.Expect.Evicted = []string{"burstable"} }, "evicted: "},
		{"eviction-orderly", func(s *scenarios.Scenario) { s.Node.Kubelet.EvictionHard = nil }, "no threshold"},
		{"eviction-orderly", func(s *scenarios.Scenario) {
			s.Workloads[0].Limits.Memory = scenarios.MemoryOf(350 * mem.MiB)
			s.Workloads[0].Press = "fill 300Mi, leak 12Mi/s to 300% of limit"
		}, "the kernel kills first"},
		{"eviction-orderly", func(s *scenarios.Scenario) { s.Workloads[0].Press = "fill 300Mi, leak 12Mi/s to 310Mi" }, "the model says nobody"},
	} {
		s, err := scenarios.Named(tt.scenario)
		if err != nil {
			t.Fatal(err)
		}
		tt.change(s)
		f, err := forecast.Predict(s, options(1, -1000))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(f.Contradictions, "\n"), tt.want) {
			t.Errorf("%s: contradictions %q, want %q in them", tt.scenario, f.Contradictions, tt.want)
		}
	}
}

// A threshold that is met three seconds before memory runs out is a race.
func TestRaceIsDoubt(t *testing.T) {
	s, err := scenarios.Named("eviction-orderly")
	if err != nil {
		t.Fatal(err)
	}
	s.Workloads[0].Press = "fill 300Mi, leak 100Mi/s to 1200Mi"
	f, err := forecast.Predict(s, options(1, -1000))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Contradictions) > 0 || !strings.Contains(strings.Join(f.Doubts, "\n"), "memory runs out sooner") {
		t.Errorf("contradictions %q, doubts %q", f.Contradictions, f.Doubts)
	}
}

// Two that grow at once are a race, which the model does not decide. One that
// only holds is none.
func TestTwoGrowers(t *testing.T) {
	s, err := scenarios.Named("oomkilled-for-a-neighbour")
	if err != nil {
		t.Fatal(err)
	}
	f, err := forecast.Predict(s, options(1, -1000))
	if err != nil || f.Kernel == nil || len(f.Doubts) > 0 {
		t.Errorf("one grows: %+v, doubts %q, %v", f.Kernel, f.Doubts, err)
	}
	s.Workloads[0].Press = "ramp 400Mi at 100Mi/s"
	f, err = forecast.Predict(s, options(1, -1000))
	if err != nil || f.Kernel != nil || len(f.Contradictions) > 0 || !strings.Contains(strings.Join(f.Doubts, "\n"), "2 containers grow at once") {
		t.Errorf("two grow: %+v, contradictions %q, doubts %q, %v", f.Kernel, f.Contradictions, f.Doubts, err)
	}
}

// The planned node is the one that the cgroup lab makes: sizes, scores, order.
func TestQOSOrder(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	f, err := forecast.Predict(s, options(1, -1000))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, step := range f.Kernel.Steps {
		c := step.Candidates[0]
		got = append(got, fmt.Sprintf("%s %d of %s: %s", c.Name, c.OOMScoreAdj, step.TotalPages.Pages.Bytes(4096), (c.Points-c.AdjPages).Bytes(4096).Human()))
	}
	want := []string{"best-effort 1000 of 1Gi: 352.8Mi", "burstable 935 of 1Gi: 252.6Mi"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// The processes beside have the score of their container, which the scenario may
// give it, and are charged to it.
func TestProcessesBeside(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	score := 999
	guaranteed := &s.Workloads[2]
	guaranteed.Limits, guaranteed.Balloon = scenarios.Resources{}, "fill 20Mi"
	guaranteed.Beside, guaranteed.OOMScoreAdj = []string{"fill 400Mi", "memfd fill 30Mi"}, &score
	f, err := forecast.Predict(s, options(2, -1000))
	if err != nil {
		t.Fatal(err)
	}
	var rss []mem.Bytes
	first := f.Kernel.Steps[0]
	for _, task := range f.Snapshot.Tasks {
		if f.Owners[task.PID].Workload != "guaranteed" {
			continue
		}
		rss = append(rss, task.RSS().Bytes(4096)/mem.MiB)
		if task.OOMScoreAdj != 999 {
			t.Errorf("score %d, want the scenario's 999", task.OOMScoreAdj)
		}
		if task.PID == first.Victim && len(rss) != 2 {
			t.Errorf("process %d of the container dies, want the one of 400Mi", len(rss))
		}
	}
	if diff := cmp.Diff([]mem.Bytes{22, 402, 2}, rss); diff != "" {
		t.Errorf("resident MiB (-want +got):\n%s", diff)
	}
	if f.Owners[first.Victim].Workload != "guaranteed" {
		t.Errorf("first victim %v", f.Owners[first.Victim])
	}
}

// A container that presses on top of a balloon holds the balloon beforehand,
// and grows from there: it is killed as soon, and as large, as one that presses
// all of it.
func TestPressureOnTopOfABalloon(t *testing.T) {
	sequence := func(balloon, press string) *forecast.Forecast {
		s, err := scenarios.Named("qos-order")
		if err != nil {
			t.Fatal(err)
		}
		w := &s.Workloads[slices.IndexFunc(s.Workloads, func(w scenarios.Workload) bool { return w.Press != "" })]
		w.Balloon, w.Press = balloon, press
		f, err := forecast.Predict(s, options(1, -1000))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	all, top := sequence("", "ramp 700Mi at 100Mi/s"), sequence("fill 120Mi", "ramp 700Mi at 100Mi/s")
	a, b := all.Kernel.Steps[0], top.Kernel.Steps[0]
	if a.Victim != b.Victim {
		t.Errorf("victims %v and %v", all.Owners[a.Victim], top.Owners[b.Victim])
	}
	if d := (a.Growth - b.Growth).Bytes(4096); d < 120*mem.MiB || d > 121*mem.MiB {
		t.Errorf("grows by %v less on top of 120Mi", d.Human())
	}
	if d := (a.GrowerRSS - b.GrowerRSS).Bytes(4096); d < 0 || d > mem.MiB {
		t.Errorf("with its balloon it ends %v smaller", d.Human())
	}
	// Neither presses further than to its peak, balloon included.
	if f := sequence("fill 120Mi", "ramp 130Mi at 100Mi/s"); len(f.Kernel.Steps) > 0 {
		t.Errorf("10Mi more kill %v", f.Owners[f.Kernel.Steps[0].Victim])
	}
}

// The kubelet sees the balloon from the beginning, and the pressure grow.
func TestEvictionByPressureOnTopOfABalloon(t *testing.T) {
	after := func(balloon, press string) float64 {
		s, err := scenarios.Named("eviction-orderly")
		if err != nil {
			t.Fatal(err)
		}
		s.Workloads[0].Balloon, s.Workloads[0].Press = balloon, press
		f, err := forecast.Predict(s, options(1, -1000))
		if err != nil {
			t.Fatal(err)
		}
		return f.Kubelet.MetAfterSeconds
	}
	all, top := after("", "fill 300Mi, leak 12Mi/s to 1200Mi"), after("fill 300Mi", "leak 12Mi/s to 1200Mi")
	if all <= 0 || all != top {
		t.Errorf("the threshold is met after %v s, and after %v s if 300Mi are held before", all, top)
	}
}

// Memory of no process makes room run out and no victim of its holder.
func TestKindsOfMemory(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	s.Workloads[0].Balloon = "children 2, tmpfs fill 300Mi, fill 50Mi"
	f, err := forecast.Predict(s, options(2, -1000))
	if err != nil {
		t.Fatal(err)
	}
	first := f.Kernel.Steps[0]
	if f.Owners[first.Victim].Workload != "burstable" {
		t.Errorf("300 MiB in tmpfs count for nobody: first victim %v", f.Owners[first.Victim])
	}
	best := f.Snapshot.Tasks[1] // the first is the parent
	if f.Owners[best.PID].Workload != "best-effort" || best.RSS().Bytes(4096) != 27*mem.MiB {
		t.Errorf("a child holds half of 50 MiB and itself, not %s", best.RSS().Bytes(4096))
	}
	var kubepods oom.Cgroup
	for _, c := range f.Snapshot.Cgroups {
		if c.Path == "/node/kubepods" {
			kubepods = c
		}
	}
	if got := kubepods.Usage / mem.MiB; got < 350+250+150 || got > 350+250+150+10 {
		t.Errorf("kubepods holds %s", kubepods.Usage.Human())
	}
}
