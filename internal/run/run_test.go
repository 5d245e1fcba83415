package run

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

func TestGuardRefusesWhatDoesNotFit(t *testing.T) {
	available, err := evidence.MemAvailable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		node mem.Bytes
		want error
	}{
		{"all that is free, and no reserve", available, ErrUnsafe},
		{"more than any machine has", mem.TiB * 1024, ErrUnsafe},
		{"a small node", mem.MiB, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, unguard, err := Guard(t.Context(), tc.node)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got error %v, want %v", err, tc.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "use a smaller node") {
					t.Errorf("%q names no way out", err)
				}
				return
			}
			if ctx.Err() != nil {
				t.Errorf("the run was cancelled at once: %v", context.Cause(ctx))
			}
			unguard()
			if ctx.Err() == nil {
				t.Error("the context lives on after the run")
			}
		})
	}
}

func TestCausePrefersTheReason(t *testing.T) {
	reason, consequence := errors.New("MemAvailable fell"), errors.New("create pod: context canceled")
	ctx, cancel := context.WithCancelCause(t.Context())
	if got := cause(ctx, consequence); got != consequence { //nolint:errorlint // the very same error
		t.Errorf("nothing was cancelled, got %v", got)
	}
	cancel(reason)
	if got := cause(ctx, consequence); !errors.Is(got, reason) || !errors.Is(got, consequence) {
		t.Errorf("got %v, want both the reason and its consequence", got)
	}
}

func TestPoll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	asked := 0
	if err := poll(ctx, time.Millisecond, func(context.Context) (bool, error) {
		asked++
		return asked == 3, nil
	}); err != nil || asked != 3 {
		t.Errorf("asked %d times, error %v", asked, err)
	}
	last := errors.New("connection refused")
	short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	err := poll(short, time.Millisecond, func(context.Context) (bool, error) { return true, last })
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, last) {
		t.Errorf("got %v, want the time-out and what was last wrong", err)
	}
}

func pod(workload, uid, phase string, restarts int, running bool) record.Pod {
	return record.Pod{
		Name: workload, Workload: workload, UID: uid, Phase: phase,
		Containers: []record.Container{{Name: workload, RestartCount: restarts, Running: running}},
	}
}

func TestAnswered(t *testing.T) {
	expect := scenarios.Expect{Restarted: []string{"a"}, Failed: []string{"b"}}
	before := []record.Pod{pod("a", "1", "Running", 1, true), pod("b", "2", "Running", 0, true)}
	answered := []record.Pod{pod("a", "1", "Running", 2, true), pod("b", "2", "Failed", 0, false)}
	killed := func(main bool) []record.Kill {
		return []record.Kill{{Owner: record.Owner{Pod: "c", Container: "c"}, Main: main}}
	}
	for _, tc := range []struct {
		name      string
		noKubelet string
		kills     []record.Kill
		after     []record.Pod
		want      bool
	}{
		{"both", "", nil, []record.Pod{pod("a", "1", "Running", 2, true), pod("b", "2", "Failed", 0, false)}, true},
		{"not restarted yet", "", nil, []record.Pod{pod("a", "1", "Running", 1, true), pod("b", "2", "Failed", 0, false)}, false},
		{"restarted and not running yet", "", nil, []record.Pod{pod("a", "1", "Running", 2, false), pod("b", "2", "Failed", 0, false)}, false},
		{"not failed yet", "", nil, []record.Pod{pod("a", "1", "Running", 2, true), pod("b", "2", "Running", 0, true)}, false},
		{"nobody restarts there", "no kubelet", nil, []record.Pod{pod("a", "1", "Running", 1, false)}, true},
		{"a kill that the runtime has not noticed", "", killed(true), append(answered, pod("c", "3", "Running", 0, true)), false},
		{"a kill that it has", "", killed(true), append(answered, pod("c", "3", "Running", 0, false)), true},
		{"a kill of a child", "", killed(false), append(answered, pod("c", "3", "Running", 0, true)), true},
		{"a kill in a pod that is gone", "", killed(true), answered, true},
		{"a plan that has not ended", "", nil, append(answered, pod("d", "4", "Running", 0, true)), false},
		{"a plan that has", "", nil, append(answered, pod("d", "4", "Succeeded", 0, false)), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ends := scenarios.Workload{Name: "d", Container: scenarios.Container{Press: "hold 1s", Ends: true}}
			r := &runner{
				ending: true, scenario: &scenarios.Scenario{Expect: expect, Workloads: []scenarios.Workload{ends}},
				record: &record.Record{Before: before, Node: record.Node{NoKubelet: tc.noKubelet}},
			}
			if got := r.answered(tc.after, tc.kills); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRestartsCountsFromBefore(t *testing.T) {
	before := []record.Pod{pod("a", "1", "Running", 3, true)}
	if got := restarts(before, pod("a", "1", "Running", 5, true)); got != 2 {
		t.Errorf("same pod: %d restarts, want 2", got)
	}
	// A pod that was replaced by another of the same name began anew.
	if got := restarts(before, pod("a", "2", "Running", 1, true)); got != 1 {
		t.Errorf("another pod of that name: %d restarts, want 1", got)
	}
}

// A slow machine gets more time for kills, and no longer stories.
func TestPressureIsStretchedWhereItIsAwaited(t *testing.T) {
	slow := func(d time.Duration) time.Duration { return 5 * d }
	within := scenarios.Duration{Duration: 15 * time.Second}
	for name, tt := range map[string]struct {
		until scenarios.Until
		want  time.Duration
	}{
		"kills":     {scenarios.Until{Kills: 2, Within: within}, 75 * time.Second},
		"evictions": {scenarios.Until{Evictions: 1, Within: within}, 75 * time.Second},
		"time":      {scenarios.Until{Within: within}, 15 * time.Second},
	} {
		if got := pressure(tt.until, slow); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestUntilText(t *testing.T) {
	for _, tc := range []struct {
		until scenarios.Until
		want  string
	}{
		{scenarios.Until{Kills: 2}, "2 processes are killed"},
		{scenarios.Until{Evictions: 1}, "1 pods are evicted"},
		{scenarios.Until{Kills: 1, Evictions: 1}, "1 kills or 1 evictions"},
	} {
		if got := untilText(tc.until); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.until, got, tc.want)
		}
	}
}

// The line shows the arithmetic of the victim, which is not always the first
// candidate.
func TestExplain(t *testing.T) {
	const page = 4 * mem.KiB
	pages := func(b mem.Bytes) mem.Pages { return b.Pages(page) }
	p := oom.Prediction{
		Outcome: oom.OutcomeVictim, Victim: 7, Margin: pages(100 * mem.MiB),
		TotalPages: oom.TotalPages{Pages: pages(mem.GiB)},
		Candidates: []oom.Candidate{
			{PID: 8, Points: pages(1500 * mem.MiB)},
			{PID: 7, OOMScoreAdj: 1000, Points: pages(1400 * mem.MiB), AdjPages: pages(1024 * mem.MiB)},
		},
	}
	owners := map[int]record.Owner{7: {Pod: "best-effort"}, 8: {Pod: "big"}}
	const want = "best-effort dies: 1.4Gi points = 376Mi held + 1000 × 1Gi/1000, 100Mi ahead of the next"
	if got := Explain(p, owners, page); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	none := oom.Prediction{Outcome: oom.OutcomeUndetermined, Reason: "too close"}
	if got := Explain(none, owners, page); got != "too close" {
		t.Errorf("no victim: got %q", got)
	}
}

// refusing is a lab that can't carry a scenario out.
type refusing struct{ err error }

func (l refusing) Name() string                                               { return "vm" }
func (l refusing) Prepare(context.Context, *scenarios.Scenario) (Node, error) { return nil, l.err }

// What a lab lacks is a verdict, what goes wrong is none.
func TestWhatALabLacksIsUnsupported(t *testing.T) {
	if _, err := evidence.FindHierarchy(); err != nil {
		t.Skip(err)
	}
	s, err := scenarios.Named("container-limit")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), refusing{&UnsupportedError{Missing: "an API server"}}, s, Options{Expendable: true})
	if err != nil || r.Verdict != record.Unsupported || len(r.Claims) != 1 || r.Claims[0].Missing != "an API server" {
		t.Errorf("%v, %+v", err, r)
	}
	r, err = Run(t.Context(), refusing{errors.New("no space")}, s, Options{Expendable: true})
	if err == nil || r.Verdict != record.Inconclusive {
		t.Errorf("%v, %s", err, r.Verdict)
	}
}
