package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// The stressor's signals: go on, from the balloon to the press plan or after a
// hold, and hold.
const (
	goOn = unix.SIGUSR1
	hold = unix.SIGUSR2
)

// presser is a process that makes memory run out: the first one of a container,
// or the one that was executed in it.
type presser struct {
	workload  string
	pod       string // empty where a Job's controller gives the name
	container scenarios.Container
	exec      bool
}

// pressers returns those of the scenario that are there from the beginning.
func (r *runner) pressers() []presser {
	var all []presser
	for _, w := range r.scenario.Workloads {
		if w.After != "" {
			continue
		}
		names := w.PodNames()
		if w.Job != nil {
			names = []string{""}
		}
		for _, c := range w.EachContainer() {
			for _, pod := range names {
				if c.Press != "" {
					all = append(all, presser{workload: w.Name, pod: pod, container: c})
				}
				if c.Exec != "" {
					all = append(all, presser{workload: w.Name, pod: pod, container: c.Executed(), exec: true})
				}
			}
		}
	}
	return all
}

// process returns the presser's process, if it is alive.
func (r *runner) process(p presser) (evidence.Member, bool) {
	var first evidence.Member
	found := false
	for _, m := range r.recorder.Census.Alive() { // oldest first
		o := r.node.Owner(m.Cgroup)
		switch {
		case o.Level != qos.LevelContainer || o.Workload != p.workload || o.Container != p.container.Name:
		case p.pod != "" && o.Pod != p.pod:
		case !p.exec:
			return m, true
		case !found:
			first, found = m, true
		case m.Parent != first.PID:
			return m, true
		}
	}
	return evidence.Member{}, false
}

// children waits until the census has met all processes that the presser's
// first one has started, and returns them in the order of their start.
func (r *runner) children(ctx context.Context, m evidence.Member, want int) (pids []int, err error) {
	ctx, cancel := context.WithTimeout(ctx, censusWait)
	defer cancel()
	err = poll(ctx, pollCensus, func(context.Context) (bool, error) {
		pids = nil
		for _, c := range r.recorder.Census.Alive() {
			if c.Parent == m.PID && c.Cgroup == m.Cgroup {
				pids = append(pids, c.PID)
			}
		}
		slices.Sort(pids)
		return len(pids) == want, nil
	})
	if err != nil {
		return nil, fmt.Errorf("process %d has %d children, not %d: %w", m.PID, len(pids), want, err)
	}
	return pids, nil
}

// signalPressers tells every presser to go on or to hold. One that has just
// been killed is not there any more, and is left out.
func (r *runner) signalPressers(signal unix.Signal) error {
	return r.signalAll(r.pressers(), signal)
}

// letEnd lets those go on that are held, and whose plan has an end. observe does
// it again: as everywhere, the signal may have been overtaken.
func (r *runner) letEnd() error {
	r.ending = true
	return r.signalAll(slices.DeleteFunc(r.pressers(), func(p presser) bool { return !p.container.Ends }), goOn)
}

func (r *runner) signalAll(pressers []presser, signal unix.Signal) error {
	for _, p := range pressers {
		m, ok := r.process(p)
		if !ok {
			continue
		}
		if err := r.signal(m, signal); err != nil {
			return fmt.Errorf("signal the pressing pod of %s: %w", p.workload, err)
		}
	}
	return nil
}

// signal sends a signal to a process if its pid has not passed to another one.
func (r *runner) signal(m evidence.Member, signal unix.Signal) error {
	if now, err := r.hierarchy.Of(m.PID); err != nil || now != m.Cgroup {
		return nil //nolint:nilerr // it is gone: there is nobody to tell
	}
	if err := unix.Kill(m.PID, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(signal), m.PID, err)
	}
	return nil
}
