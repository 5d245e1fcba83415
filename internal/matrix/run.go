package matrix

import (
	"context"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// Lab is where the runs are made.
type Lab struct {
	// Play makes one run, and leaves it as it is. The record may come next to
	// an error.
	Play func(context.Context, *Run) (*record.Record, error)
	// AtOnce is how many runs the lab can make at the same time, at least 1.
	AtOnce int
	// OneInCell says that a cell is one place, for one run at a time.
	OneInCell bool
	// Needs is how much memory a run may take of this machine.
	Needs func(*scenarios.Scenario) mem.Bytes
	// Free is how much this machine has to give now, what must stay free left
	// out.
	Free func() (mem.Bytes, error)
}

// Make makes the runs that are not done, as many at once as the lab and the
// machine's memory allow, and writes their records. It tells of each run when it
// begins and when it has ended. A run that cannot be finished does not keep the
// others from being made; what it had is written, and made again next time.
// Errors are those of the machine, and the end of ctx, after which no record is
// written.
func (l Lab) Make(ctx context.Context, runs []*Run, begin, end func(*Run)) error {
	waiting := slices.DeleteFunc(slices.Clone(runs), (*Run).done)
	var running []*Run
	ended := make(chan *Run)
	var failed error
	for len(waiting) > 0 || len(running) > 0 {
		for failed == nil && ctx.Err() == nil {
			i, err := l.next(waiting, running)
			failed = err
			if i < 0 {
				break
			}
			r := waiting[i]
			waiting = slices.Delete(waiting, i, i+1)
			running = append(running, r)
			begin(r)
			go func() {
				r.Record, r.Err = l.Play(ctx, r)
				ended <- r
			}()
		}
		if len(running) == 0 {
			break // nothing more is begun
		}
		r := <-ended
		running = slices.DeleteFunc(running, func(other *Run) bool { return other == r })
		if ctx.Err() != nil {
			r.Record = nil // it says nothing, and is made again anyway
			continue
		}
		if r.Record != nil && r.Err == nil {
			r.Err = r.Cell.check(r.Record)
		}
		if r.Record != nil {
			if r.Err != nil {
				r.Record.Error = r.Err.Error()
			}
			if err := r.write(); err != nil {
				failed = err
			}
		}
		end(r)
	}
	if failed != nil {
		return failed
	}
	return context.Cause(ctx)
}

// next returns the first run that can begin now, -1 if none can.
func (l Lab) next(waiting, running []*Run) (int, error) {
	if len(running) >= l.AtOnce {
		return -1, nil
	}
	for i, r := range waiting {
		if l.OneInCell && slices.ContainsFunc(running, func(other *Run) bool { return other.Cell.Path == r.Cell.Path }) {
			continue
		}
		if len(running) == 0 {
			return i, nil // whether it fits alone, the run itself finds out and says
		}
		free, err := l.Free()
		if err != nil {
			return -1, err
		}
		// What the others have taken already counts twice here, which errs on
		// the safe side.
		for _, other := range running {
			free -= l.Needs(other.Scenario)
		}
		if l.Needs(r.Scenario) > free {
			return -1, nil // not before one has ended; a smaller one must not overtake it for ever
		}
		return i, nil
	}
	return -1, nil
}
