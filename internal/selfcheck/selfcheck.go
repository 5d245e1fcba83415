// Package selfcheck lets this machine's kernel judge the model of its OOM
// killer: random processes of random sizes and scores in nested cgroups, one of
// which grows until a limit is reached. The model names the victim beforehand,
// from the same snapshot that a run takes, and again from the kernel's own task
// table. It needs root.
package selfcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
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
		defer func() { report.LostRecords += trace.Lost(); err = errors.Join(err, trace.Close()) }()
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
