package lab_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/scenarios"
)

func TestStressorArgs(t *testing.T) {
	request := scenarios.Resources{Memory: scenarios.MemoryOf(100 * mem.MiB)}
	for name, tt := range map[string]struct {
		container scenarios.Container
		state     string
		want      []string
	}{
		"idle":     {want: []string{"-plan=hold"}},
		"balloon":  {scenarios.Container{Balloon: "children 2, fill 5Mi"}, "", []string{"-plan=children 2, fill 5Mi, hold"}},
		"hot":      {scenarios.Container{Balloon: "fill 5Mi, touch 2Mi at 1Mi/s"}, "", []string{"-plan=fill 5Mi, touch 2Mi at 1Mi/s"}},
		"press":    {scenarios.Container{Press: "threads 2, ramp 9Mi at 1Mi/s"}, "", []string{"-plan=threads 2, await, ramp 9Mi at 1Mi/s, hold"}},
		"both":     {scenarios.Container{Balloon: "fill 5Mi", Press: "ramp 9Mi at 1Mi/s, hold"}, "", []string{"-plan=fill 5Mi, await, ramp 9Mi at 1Mi/s, hold"}},
		"request":  {scenarios.Container{Balloon: "fill 50% of request", Requests: request}, "", []string{"-plan=fill 50% of request, hold", "-request=100Mi"}},
		"limit":    {scenarios.Container{Limits: request}, "", []string{"-plan=hold", "-request=100Mi"}},
		"restarts": {scenarios.Container{AfterRestart: "again"}, "/state", []string{"-plan=hold", "-state=/state", "-after-restart=again"}},
		"stays":    {scenarios.Container{}, "/state", []string{"-plan=hold", "-state=/state", "-after-restart=small"}},
		"no plan":  {scenarios.Container{Balloon: "fil 5Mi"}, "", []string{"-plan=fil 5Mi"}},
		"ends":     {scenarios.Container{Press: "ramp 9Mi at 1Mi/s", Ends: true}, "", []string{"-plan=await, ramp 9Mi at 1Mi/s"}},
		"executed": {scenarios.Container{Balloon: "fill 5Mi", Exec: "fill 9Mi"}.Executed(), "", []string{"-plan=await, fill 9Mi, hold"}},
		"misbehaves": {
			scenarios.Container{KeepFiles: true, IgnoreSIGTERM: true, IgnoreChildren: true}, "",
			[]string{"-plan=hold", "-keep-files", "-ignore-sigterm", "-ignore-children"},
		},
		"endlessly": {scenarios.Container{Balloon: "saw 1Mi..2Mi every 1s"}, "", []string{"-plan=saw 1Mi..2Mi every 1s"}},
	} {
		if diff := cmp.Diff(tt.want, lab.StressorArgs(tt.container, lab.Dirs{State: tt.state})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A container has settled when all of its processes hold for good, no sooner.
func TestSettling(t *testing.T) {
	const holds = `{"event":"holding","verb":"await"}`
	for name, tt := range map[string]struct {
		balloon, events string
		want            bool
		wantErr         string
	}{
		"holds":            {"fill 5Mi", `{"event":"ready"} {"event":"reached"} ` + holds, true, ""},
		"only ready":       {"fill 5Mi", `{"event":"ready"} {"event":"reached"}`, false, ""},
		"in the middle":    {"fill 5Mi, hold 1s, fill 9Mi", `{"event":"holding","forSeconds":1}`, false, ""},
		"and afterwards":   {"fill 5Mi, hold 1s, fill 9Mi", `{"event":"holding","forSeconds":1} {"event":"reached"} ` + holds, true, ""},
		"one child of two": {"children 2, fill 8Mi", holds, false, ""},
		"both of them":     {"children 2, fill 8Mi", holds + " " + holds, true, ""},
		"an error":         {"fill 5Mi", `{"event":"error","message":"none"}`, false, "none"},
		"no event":         {"fill 5Mi", "Hello", false, "event"},
	} {
		s, err := lab.SettlingOf(scenarios.Container{Balloon: tt.balloon})
		if err != nil {
			t.Fatal(err)
		}
		settled := false
		for _, line := range strings.Fields(tt.events) {
			settled, err = s.Event([]byte(line))
		}
		if settled != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: settled %v, %v; want %v, %q", name, settled, err, tt.want, tt.wantErr)
		}
	}
}
