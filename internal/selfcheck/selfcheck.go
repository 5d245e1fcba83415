// Package selfcheck lets this machine's kernel judge the model of its OOM
// killer: random processes of random sizes and scores in nested cgroups, one of
// which grows until a limit is reached. The model names the victim beforehand,
// from the same snapshot that a run takes, and again from the kernel's own task
// table. It needs root.
package selfcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
)

// Options say what to check.
type Options struct {
	Experiments int
	Seed        uint64
	// Again is played each time, where it is set, in place of drawn ones.
	Again *Experiment
	// Workers play at the same time, each in an arena of its own.
	Workers int
	// Stressor is the program that holds the memory.
	Stressor string
	// LowestAdj is the lowest oom_score_adj that this machine accepts.
	LowestAdj int
	// CgroupName is the name of the cgroup, at the root of the hierarchy, in
	// which everything happens. What cleans up must recognise it.
	CgroupName string
	// SaveTo is the directory for findings; "" saves none.
	SaveTo string
	// Progress is called now and then with the number that is done.
	Progress func(done int)
}

// reserve is what the machine must keep free.
const reserve = 512 * mem.MiB

// Run plays the experiments. The report is of those that were finished, even
// beside an error.
func Run(ctx context.Context, o Options) (report Report, err error) {
	h, err := evidence.FindHierarchy()
	if err != nil {
		return report, err
	}
	kernel, err := h.Kernel()
	if err != nil {
		return report, err
	}
	report = Report{Kernel: kernel, Seed: o.Seed, LowestAdj: o.LowestAdj}
	need := mem.Bytes(o.Workers)*largestArena + reserve
	if available, err := evidence.MemAvailable(); err != nil {
		return report, err
	} else if available < need {
		return report, fmt.Errorf("%d arenas and a reserve need %s, but MemAvailable is %s: free some, or use fewer workers", o.Workers, need, available.Human())
	}
	home, err := h.Of(os.Getpid())
	if err != nil {
		return report, err
	}
	logCtx, endLog := context.WithCancel(context.WithoutCancel(ctx))
	defer endLog()
	watch, err := newWatch(logCtx)
	if err != nil {
		return report, err
	}
	defer func() {
		endLog()
		lost, closeErr := watch.close()
		report.LostRecords += lost
		err = errors.Join(err, closeErr)
	}()
	trace, traceErr := newTrace()
	if traceErr != nil {
		report.NoTrace = traceErr.Error()
	} else {
		defer func() { report.LostRecords += trace.lost; err = errors.Join(err, trace.close()) }()
	}
	root := "/" + o.CgroupName
	if err := makeRoot(h, root); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, os.Remove(h.Dir(root))) }()

	check := &check{options: o, report: &report, started: time.Now()}
	defer func() { report.ElapsedSeconds = time.Since(check.started).Seconds() }()
	arenas := make([]arena, o.Workers)
	for i := range arenas {
		arenas[i] = arena{
			hierarchy: h, kernel: kernel, stressor: o.Stressor, watch: watch, trace: trace,
			root: fmt.Sprintf("%s/%d", root, i), home: home,
		}
	}
	return report, check.all(ctx, arenas)
}

func makeRoot(h evidence.Hierarchy, root string) error {
	if err := os.Mkdir(h.Dir(root), 0o755); err != nil {
		return fmt.Errorf("make cgroup %s: %w (run as root)", root, err)
	}
	if h.Version == 2 {
		return write(h, root, "cgroup.subtree_control", "+memory")
	}
	return nil
}

// check is a run in progress.
type check struct {
	options Options
	started time.Time

	mu     sync.Mutex
	next   int
	report *Report
}

// all lets each arena play until there is nothing left. The first error ends
// them all.
func (c *check) all(ctx context.Context, arenas []arena) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make(chan error, len(arenas))
	for i := range arenas {
		go func() {
			err := pinned(i, func() error { return c.playAll(ctx, &arenas[i]) })
			if err != nil {
				cancel(err)
			}
			errs <- err
		}()
	}
	var first error
	for range arenas {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (c *check) playAll(ctx context.Context, a *arena) error {
	for {
		number, ok := c.take()
		if !ok {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		e := c.options.Again
		if e == nil {
			drawn := Draw(c.options.Seed, number, a.hierarchy.Version == 2, c.options.LowestAdj)
			e = &drawn
		}
		played, err := a.play(ctx, *e)
		if err := c.add(played, err); err != nil {
			return fmt.Errorf("experiment %d of seed %d: %w", e.Number, e.Seed, err)
		}
	}
}

func (c *check) take() (number int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number, ok = c.next, c.next < c.options.Experiments
	c.next++
	return number, ok
}

// add counts an experiment and saves it where there is something to find.
func (c *check) add(played Played, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, errUnfit):
		c.report.Unfit++
		return nil
	case errors.Is(err, errUnseen):
		c.report.Unseen++
	case err != nil:
		return err
	}
	j := played.judge()
	c.report.add(played, j)
	if p := c.options.Progress; p != nil {
		p(c.report.Experiments)
	}
	kind := j.kind()
	if err != nil || j.SourcesDiffer {
		kind = "sources-differ"
	}
	if kind == "" || c.options.SaveTo == "" {
		return nil
	}
	f := Finding{Schema: Schema, Kind: kind, Judgement: j, Played: played}
	name := filepath.Join(c.options.SaveTo, fmt.Sprintf("%s-%d-%d.json", kind, played.Experiment.Seed, played.Experiment.Number))
	c.report.Files = append(c.report.Files, name)
	return f.save(name)
}

// Schema is the version of the format of a Finding.
const Schema = "oomlab.dev/selfcheck/v1"

// Finding is an experiment that a reader should look at. It can be played again.
type Finding struct {
	Schema string `json:"schema"`
	// Kind is forecast-disagrees, replay-disagrees, needless-kill, or
	// sources-differ: the log, the trace and the processes' ends do.
	Kind      string    `json:"kind"`
	Judgement Judgement `json:"judgement"`
	Played
}

// kind names what is to be found in the experiment, "" if nothing.
func (j Judgement) kind() string {
	switch {
	case j.Replay == Disagrees:
		return "replay-disagrees"
	case j.Forecast == Disagrees:
		return "forecast-disagrees"
	case len(j.Needless) > 0:
		return "needless-kill"
	}
	return ""
}

func (f Finding) save(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("save a finding: %w", err)
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("save a finding: %w", err)
	}
	if err := os.WriteFile(name, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("save a finding: %w", err)
	}
	return nil
}

// ReadFinding reads what a check has saved.
func ReadFinding(r io.Reader) (Finding, error) {
	var f Finding
	if err := json.NewDecoder(r).Decode(&f); err != nil {
		return f, fmt.Errorf("read a finding: %w", err)
	}
	if f.Schema != Schema {
		return f, fmt.Errorf("read a finding: schema %q: this oomlab reads %s", f.Schema, Schema)
	}
	return f, f.Experiment.Validate()
}

// Report is the result of a check.
type Report struct {
	Kernel    oom.Kernel `json:"kernel"`
	Seed      uint64     `json:"seed"`
	LowestAdj int        `json:"lowestOOMScoreAdj"`

	Experiments    int     `json:"experiments"`
	ElapsedSeconds float64 `json:"elapsedSeconds"`

	Forecast Tally `json:"forecast"`
	Replay   Tally `json:"replay"`
	// Needless counts the kills beyond the one that was enough, by cause.
	Needless map[Cause]int `json:"needlessKills"`
	// NoKill counts those in which the grower got all it wanted.
	NoKill int `json:"noKill"`
	// Unfit counts those that ran out of memory before they began; they are
	// not among Experiments.
	Unfit int `json:"unfit"`
	// Unseen counts those with a kill that the kernel's log lacks.
	Unseen int `json:"unseen"`
	// Differ counts those in which the trace and the log name other victims.
	Differ int `json:"sourcesDiffer"`
	// NoTrace says why there is no trace.
	NoTrace string `json:"noTrace,omitempty"`
	// LostRecords is how many records of the log or the trace were overwritten
	// before they were read.
	LostRecords uint64   `json:"lostRecords"`
	Files       []string `json:"files,omitempty"`
}

// Tally counts the agreements of one kind of prediction.
type Tally struct {
	Agree        int `json:"agree"`
	Disagree     int `json:"disagree"`
	Tie          int `json:"tie"`
	Undetermined int `json:"undetermined"`
	// TieNamed and UndeterminedNamed are those in which the kernel killed the
	// one that the model had put first.
	TieNamed          int `json:"tieNamed"`
	UndeterminedNamed int `json:"undeterminedNamed"`
}

// Judged is the number of all.
func (t Tally) Judged() int { return t.Agree + t.Disagree + t.Tie + t.Undetermined }

func (t *Tally) add(a Agreement, named bool) {
	one := 0
	if named {
		one = 1
	}
	switch a {
	case Agrees:
		t.Agree++
	case Disagrees:
		t.Disagree++
	case Tie:
		t.Tie++
		t.TieNamed += one
	case Undetermined:
		t.Undetermined++
		t.UndeterminedNamed += one
	}
}

func (r *Report) add(p Played, j Judgement) {
	r.Experiments++
	if len(p.Kills) == 0 {
		r.NoKill++
	}
	for _, n := range j.Needless {
		if r.Needless == nil {
			r.Needless = map[Cause]int{}
		}
		r.Needless[n.Cause]++
	}
	if j.SourcesDiffer {
		r.Differ++
	}
	r.Forecast.add(j.Forecast, j.ForecastNamed)
	r.Replay.add(j.Replay, j.ReplayNamed)
}
