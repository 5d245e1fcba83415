package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// planned returns a plan of two kubelets and two scenarios in a new folder.
func planned(t *testing.T, repeat int) Plan {
	t.Helper()
	p := Plan{Dir: t.TempDir(), Lab: "kind", Repeat: repeat}
	var err error
	if p.Cells, err = Cells(Axis{Kubelet, []string{"v1.36.3", "v1.37.2"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"qos-order", "container-limit"} {
		s, err := scenarios.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		p.Scenarios = append(p.Scenarios, s)
	}
	return p
}

// name is a run as the tests write it: "36 qos-order 1".
func name(r *Run) string {
	return strings.TrimSuffix(strings.TrimPrefix(r.Cell.Value(Kubelet), "v1."), r.Cell.Value(Kubelet)[len("v1.36"):]) +
		" " + strings.TrimSuffix(filepath.Base(r.Path), ".json")
}

// played is the record that a run in the cell has.
func played(c Cell, s *scenarios.Scenario) *record.Record {
	return &record.Record{Schema: record.Schema, Lab: "kind", Scenario: s, Verdict: record.Pass,
		Node: record.Node{Versions: map[string]string{"kubelet": c.Value(Kubelet)}}}
}

// fake is a lab that has what it needs and makes every run.
func fake() Lab {
	return Lab{
		AtOnce: 1,
		Play: func(_ context.Context, r *Run) (*record.Record, error) {
			return played(r.Cell, r.Scenario), nil
		},
		Needs: func(*scenarios.Scenario) mem.Bytes { return mem.GiB },
		Free:  func() (mem.Bytes, error) { return 100 * mem.GiB, nil },
	}
}

func quiet(*Run) {}

func TestRunsTakeTurns(t *testing.T) {
	want := []string{
		"36 qos-order-1", "37 qos-order-1", "36 container-limit-1", "37 container-limit-1",
		"37 qos-order-2", "36 qos-order-2", "37 container-limit-2", "36 container-limit-2",
	}
	var got []string
	for _, r := range planned(t, 2).Runs() {
		got = append(got, name(r))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestMakeGoesOnWhereItWasInterrupted(t *testing.T) {
	p := planned(t, 2)
	ctx, interrupt := context.WithCancelCause(t.Context())
	lab := fake()
	plays := 0
	lab.Play = func(ctx context.Context, r *Run) (*record.Record, error) {
		if plays++; plays == 4 {
			interrupt(errors.New("enough"))
			rec := played(r.Cell, r.Scenario)
			rec.Error = "interrupted"
			return rec, context.Cause(ctx)
		}
		return played(r.Cell, r.Scenario), nil
	}
	if err := lab.Make(ctx, p.Runs(), quiet, quiet); err == nil || err.Error() != "enough" {
		t.Fatalf("error %v, want why it was interrupted", err)
	}
	runs := p.Runs()
	kept := slices.DeleteFunc(slices.Clone(runs), func(r *Run) bool { return !r.Kept })
	if len(kept) != 3 {
		t.Fatalf("%d of 8 runs kept, want the three that were finished", len(kept))
	}
	var made []string
	if err := fake().Make(t.Context(), runs, func(r *Run) { made = append(made, name(r)) }, quiet); err != nil {
		t.Fatal(err)
	}
	if len(made) != 5 || made[0] != "37 container-limit-1" {
		t.Errorf("made %q, want the other five", made)
	}
	if v := Verdict(runs); v != record.Pass {
		t.Errorf("verdict %s", v)
	}
	if left, _ := filepath.Glob(filepath.Join(p.Dir, "*", "*.partial")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

// What does not stand for a run is made again, and why is said.
func TestRunsLookAtWhatIsThere(t *testing.T) {
	p := planned(t, 1)
	c, s := p.Cells[0], p.Scenarios[0]
	other := *s
	other.Until.Kills++
	for name, tt := range map[string]struct {
		change func(*record.Record)
		cut    bool
		redo   string // empty: it is kept
	}{
		"good":             {change: func(*record.Record) {}},
		"failed":           {change: func(r *record.Record) { r.Verdict = record.Fail }},
		"unfinished":       {change: func(r *record.Record) { r.Error = "no space" }, redo: "it could not be finished: no space"},
		"other lab":        {change: func(r *record.Record) { r.Lab = "cgroup" }, redo: "it is of the cgroup lab"},
		"other kubelet":    {change: func(r *record.Record) { r.Node.Versions["kubelet"] = "v1.37.2" }, redo: "not v1.36.3"},
		"seeded":           {change: func(r *record.Record) { r.VM = &record.VM{Seed: new(int)} }, redo: "the seed was another one"},
		"other experiment": {change: func(r *record.Record) { r.Scenario = &other }, redo: "the scenario was another one"},
		"cut short":        {change: func(*record.Record) {}, cut: true, redo: "read run record"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Run{Cell: c, Scenario: s, N: 1, Record: played(c, s), Path: filepath.Join(p.Dir, c.Path, "qos-order-1.json")}
			tt.change(r.Record)
			if err := r.write(); err != nil {
				t.Fatal(err)
			}
			if tt.cut {
				data, err := os.ReadFile(r.Path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(r.Path, bytes.TrimSpace(data)[:len(data)/2], 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got := p.Runs()[0]
			if got.Kept != (tt.redo == "") || !strings.Contains(got.Redo, tt.redo) {
				t.Errorf("kept %v, again because %q; want %q", got.Kept, got.Redo, tt.redo)
			}
		})
	}
}

func TestRunsLookAtSeeds(t *testing.T) {
	p := planned(t, 2)
	p.Seeded = true
	zero, one := 0, 1
	for n, seed := range []*int{&zero, &zero, nil, &one} {
		r := &Run{Cell: p.Cells[n%2], Scenario: p.Scenarios[0], N: n/2 + 1}
		r.Record = played(r.Cell, r.Scenario)
		r.Record.VM = &record.VM{Seed: seed}
		r.Path = filepath.Join(p.Dir, r.Cell.Path, fmt.Sprintf("qos-order-%d.json", r.N))
		if err := r.write(); err != nil {
			t.Fatal(err)
		}
	}
	var kept, again []string
	for _, r := range p.Runs() {
		if r.Kept {
			kept = append(kept, name(r))
		} else if r.Redo != "" {
			again = append(again, name(r)+": "+r.Redo)
		}
	}
	if diff := cmp.Diff([]string{"36 qos-order-1", "37 qos-order-1", "37 qos-order-2"}, kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"36 qos-order-2: the seed was another one"}, again); diff != "" {
		t.Errorf("made again (-want +got):\n%s", diff)
	}
}

func TestMakeNamesWhatCannotBeFinished(t *testing.T) {
	p := planned(t, 1)
	lab := fake()
	lab.Play = func(_ context.Context, r *Run) (*record.Record, error) {
		rec := played(r.Cell, r.Scenario)
		switch {
		case r.Scenario.Metadata.Name == "container-limit":
			return nil, errors.New("no such kernel")
		case r.Cell.Value(Kubelet) == "v1.36.3":
			rec.Node.Versions["kubelet"] = "v1.35.0"
		}
		return rec, nil
	}
	runs := p.Runs()
	if err := lab.Make(t.Context(), runs, quiet, quiet); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range runs {
		text := string(r.Verdict())
		if r.Err != nil {
			text += " " + r.Err.Error()
		}
		got = append(got, name(r)+": "+text)
	}
	want := []string{
		`36 qos-order-1: inconclusive it ran with kubelet "v1.35.0", not v1.36.3`, "37 qos-order-1: pass",
		"36 container-limit-1: inconclusive no such kernel", "37 container-limit-1: inconclusive no such kernel",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if v := Verdict(runs); v != record.Inconclusive {
		t.Errorf("verdict %s", v)
	}
	if again := p.Runs(); !strings.Contains(again[0].Redo, "v1.35.0") || !again[1].Kept {
		t.Errorf("next time: %+v, %+v", again[0], again[1])
	}
}

func TestMakeStopsWhenRecordsCannotBeKept(t *testing.T) {
	p := planned(t, 2)
	runs := p.Runs()
	if err := os.WriteFile(filepath.Join(p.Dir, p.Cells[0].Path), nil, 0o644); err != nil { // no folder
		t.Fatal(err)
	}
	begun := 0
	err := fake().Make(t.Context(), runs, func(*Run) { begun++ }, quiet)
	if err == nil || !strings.Contains(err.Error(), "keep a record") || begun != 1 {
		t.Errorf("error %v after %d runs, want one", err, begun)
	}
}

func TestMakeStopsOnAFullDisk(t *testing.T) {
	p := planned(t, 1)
	runs := p.Runs()
	partial := runs[0].Path + ".partial"
	if err := errors.Join(os.Mkdir(filepath.Dir(partial), 0o755), os.Symlink("/dev/full", partial)); err != nil {
		t.Fatal(err)
	}
	begun := 0
	err := fake().Make(t.Context(), runs, func(*Run) { begun++ }, quiet)
	if !errors.Is(err, syscall.ENOSPC) || begun != 1 {
		t.Errorf("error %v after %d runs, want that the disk is full, after one", err, begun)
	}
	if left, err := os.ReadDir(filepath.Dir(partial)); err != nil || len(left) > 0 {
		t.Errorf("left %v (%v): want no half record", left, err)
	}
}

// TestMakeAtOnce holds what may run next to what.
func TestMakeAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		lab  func(*Lab)
		most int // runs at the same time
	}{
		"one at a time":     {func(*Lab) {}, 1},
		"as many as can be": {func(l *Lab) { l.AtOnce = 3 }, 3},
		"one in a cell":     {func(l *Lab) { l.AtOnce, l.OneInCell = 3, true }, 2},
		"memory for two": {func(l *Lab) {
			l.AtOnce = 3
			l.Free = func() (mem.Bytes, error) { return 2*mem.GiB + mem.MiB, nil }
		}, 2},
		"memory for none": {func(l *Lab) { // the run itself says that
			l.AtOnce = 3
			l.Free = func() (mem.Bytes, error) { return 0, nil }
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			lab := fake()
			tt.lab(&lab)
			var mu sync.Mutex
			running, most := map[string]int{}, 0
			now := func() (n int) {
				for _, runs := range running {
					n += runs
				}
				return n
			}
			full := make(chan struct{})
			lab.Play = func(ctx context.Context, r *Run) (*record.Record, error) {
				mu.Lock()
				running[r.Cell.Path]++
				if lab.OneInCell && running[r.Cell.Path] > 1 {
					t.Errorf("two runs in %s", r.Cell.Path)
				}
				most = max(most, now())
				if now() == tt.most {
					select {
					case <-full:
					default:
						close(full)
					}
				}
				mu.Unlock()
				<-full // so many do run at once, or this waits for ever
				mu.Lock()
				running[r.Cell.Path]--
				mu.Unlock()
				return played(r.Cell, r.Scenario), nil
			}
			if err := lab.Make(t.Context(), planned(t, 2).Runs(), quiet, quiet); err != nil {
				t.Fatal(err)
			}
			if most != tt.most {
				t.Errorf("%d at once, want %d", most, tt.most)
			}
		})
	}
}

func TestMakeReportsAMachineThatCannotBeRead(t *testing.T) {
	lab := fake()
	lab.AtOnce = 2
	lab.Free = func() (mem.Bytes, error) { return 0, errors.New("no /proc") }
	if err := lab.Make(t.Context(), planned(t, 1).Runs(), quiet, quiet); err == nil || err.Error() != "no /proc" {
		t.Errorf("error %v", err)
	}
}

func TestVerdict(t *testing.T) {
	of := func(verdicts ...record.Verdict) (runs []*Run) {
		for _, v := range verdicts {
			runs = append(runs, &Run{Record: &record.Record{Verdict: v}})
		}
		return runs
	}
	for _, tt := range []struct {
		runs []*Run
		want record.Verdict
	}{
		{of(record.Pass, record.Pass), record.Pass},
		{of(record.Pass, record.Fail, record.Inconclusive), record.Fail},
		{of(record.Pass, record.Inconclusive), record.Inconclusive},
		{of(record.Pass, record.Unsupported), record.Pass},
		{of(record.Unsupported, record.Unsupported), record.Unsupported},
		{append(of(record.Pass), &Run{Err: errors.New("disk full")}), record.Inconclusive},
		{append(of(record.Pass), &Run{}), record.Inconclusive},
	} {
		if got := Verdict(tt.runs); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.runs, got, tt.want)
		}
	}
}
