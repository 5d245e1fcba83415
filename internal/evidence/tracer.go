package evidence

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/procfs"

	"github.com/oomlab/oomlab/internal/reconcile"
)

// tracer reads a trace for a Recorder. What it has heard is touched by readTrace
// alone, until that is done: it waits for nobody.
type tracer struct {
	*Trace
	marks  []reconcile.Mark
	scores []reconcile.ScoreWrite
}

// readTrace takes each mark as soon as it is there: the line in the log comes
// only when the process that is out of memory has gone on, which may take a
// tenth of a second where it has few shares of the processor.
func (r *Recorder) readTrace(ctx context.Context, t *tracer) {
	runtime.LockOSThread() // as in readKmsg
	preferThisThread()
	t.Settle()
	for ctx.Err() == nil {
		if err := t.Wait(100 * time.Millisecond); err != nil {
			return // Stop takes what is left
		}
		marks, scores := t.Take()
		t.marks = append(t.marks, marks...)
		for _, m := range marks {
			if _, here := r.Census.Find(m.PID); here {
				r.marked()
			}
		}
		t.scores = append(t.scores, r.place(scores)...)
	}
}

// place looks up whose scores were written, and by whom, while they live: runc's
// first process gives itself the container's score and soon ends. It leaves out
// those that are not this node's.
func (r *Recorder) place(scores []reconcile.ScoreWrite) []reconcile.ScoreWrite {
	var here []reconcile.ScoreWrite
	for _, s := range scores {
		cgroup, err := r.hierarchy.Of(s.PID)
		if err == nil && !reconcile.Within(cgroup, r.node.Root) {
			continue
		}
		s.Cgroup = cgroup // the census may know it where this is empty
		s.ByName = programOf(s.By)
		here = append(here, s)
	}
	return here
}

// programOf returns the name that a process was started by, empty if it has ended.
// runc executes a copy of itself by its descriptor, so that its comm is "6".
func programOf(pid int) string {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return ""
	}
	if args, err := proc.CmdLine(); err == nil && len(args) > 0 {
		return filepath.Base(args[0])
	}
	comm, _ := proc.Comm()
	return comm
}

// traced returns what all traces have told, in the order of its times. Nobody may
// be in readTrace any more.
func (r *Recorder) traced() (marks []reconcile.Mark, scores []reconcile.ScoreWrite) {
	for _, t := range r.traces {
		lastMarks, lastScores := t.Take()
		marks = slices.Concat(marks, t.marks, lastMarks)
		scores = slices.Concat(scores, t.scores, r.place(lastScores))
	}
	slices.SortStableFunc(marks, func(a, b reconcile.Mark) int { return cmp.Compare(a.Uptime, b.Uptime) })
	slices.SortStableFunc(scores, func(a, b reconcile.ScoreWrite) int { return cmp.Compare(a.Uptime, b.Uptime) })
	return marks, scores
}

func (r *Recorder) closeTraces() error {
	var errs []error
	for _, t := range r.traces {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}
