package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/verdict"
	"github.com/oomlab/oomlab/scenarios"
)

// The stressor's signals: go on, from the balloon to the press plan or after a
// hold, and hold.
const (
	goOn = unix.SIGUSR1
	hold = unix.SIGUSR2
)

// restartedBalloon is what a restarted stressor holds that stays small: its own
// footprint.
const restartedBalloon = 4 * mem.MiB

// predict takes the snapshot and says whom the kernel will kill.
func (r *runner) predict(ctx context.Context) error {
	kernel, err := r.hierarchy.Kernel()
	if err != nil {
		return err
	}
	if r.record.Snapshot, err = r.hierarchy.Snapshot(kernel, r.record.Node.Cgroup); err != nil {
		return err
	}
	r.record.Owners = map[int]record.Owner{}
	for _, t := range r.record.Snapshot.Tasks {
		r.record.Owners[t.PID] = r.node.Owner(t.Cgroup)
	}
	if r.scenario.Until.Kills == 0 || len(r.pressers()) == 0 {
		return nil
	}
	pressure, err := r.pressure(ctx, r.pressers()[0], kernel)
	if err != nil || pressure.Peak == 0 {
		return err
	}
	sequence, err := oom.PredictSequence(r.record.Snapshot, pressure)
	if err != nil {
		return fmt.Errorf("predict: %w", err)
	}
	r.record.Forecast = &sequence
	for i, step := range sequence.Steps {
		r.tell("predict", "%d. %s", i+1, Explain(step.Prediction, r.record.Owners, kernel.PageSize))
	}
	return nil
}

// Explain says in a line whom a prediction names, and by how much.
func Explain(p oom.Prediction, owners map[int]record.Owner, pageSize mem.Bytes) string {
	if p.Victim == 0 {
		return p.Reason
	}
	c := p.Candidates[0]
	for _, other := range p.Candidates {
		if other.PID == p.Victim {
			c = other
		}
	}
	text := fmt.Sprintf("%s dies: %s points = %s held + %d × %s/1000", owners[c.PID], c.Points.Bytes(pageSize).Human(),
		(c.Points - c.AdjPages).Bytes(pageSize).Human(), c.OOMScoreAdj, p.TotalPages.Pages.Bytes(pageSize).Human())
	if len(p.Candidates) > 1 {
		text += fmt.Sprintf(", %s ahead of the next", p.Margin.Bytes(pageSize).Human())
	}
	if p.Outcome != oom.OutcomeVictim {
		text += fmt.Sprintf(" (%s: %s)", p.Outcome, p.Reason)
	}
	return text
}

// presser is a container that makes memory run out.
type presser struct {
	pod       string
	container scenarios.Container
}

// pressure is how the presser's processes grow. Its peak is 0 where they take
// nothing but what can be reclaimed.
func (r *runner) pressure(ctx context.Context, p presser, kernel oom.Kernel) (oom.Pressure, error) {
	pressure := oom.Pressure{Kills: r.scenario.Until.Kills}
	if r.record.Node.NoKubelet == "" { // which restarts what was killed
		pressure.Restart = restartedBalloon.Pages(kernel.PageSize)
	}
	whole, err := p.container.Plan()
	if err != nil {
		return pressure, err
	}
	balloon, press, err := p.container.Curves()
	if err != nil {
		return pressure, err
	}
	m, err := r.waitMainProcess(ctx, p.pod, p.container.Name)
	if err != nil {
		return pressure, err
	}
	pressure.Grower = m.PID
	if whole.Children > 0 {
		children, beside := r.children(m), len(p.container.Beside)
		if len(children) != beside+whole.Children {
			return pressure, fmt.Errorf("container %s/%s has %d children, not %d", p.pod, p.container.Name, len(children), beside+whole.Children)
		}
		children = children[beside:]
		pressure.Grower, pressure.Sharers = children[0], children[1:]
	}
	return forecast.WithPeak(pressure, r.record.Snapshot, balloon, press), nil
}

// children returns the processes that a container's first process has started.
func (r *runner) children(m evidence.Member) (pids []int) {
	for _, c := range r.recorder.Census.Alive() {
		if c.Parent == m.PID && c.Cgroup == m.Cgroup {
			pids = append(pids, c.PID)
		}
	}
	slices.Sort(pids) // in the order of their start
	return pids
}

func (r *runner) pressers() []presser {
	var all []presser
	for _, w := range r.scenario.Workloads {
		for _, c := range w.EachContainer() {
			if c.Press == "" {
				continue
			}
			for _, pod := range w.PodNames() {
				all = append(all, presser{pod, c})
			}
		}
	}
	return all
}

// signalPressers tells every presser to go on or to hold. One that has just
// been killed is not there any more, and is left out.
func (r *runner) signalPressers(signal unix.Signal) error {
	for _, p := range r.pressers() {
		m, ok := r.mainProcess(p.pod, p.container.Name)
		if !ok {
			continue
		}
		if err := r.signal(m, signal); err != nil {
			return fmt.Errorf("signal the pressing pod %s: %w", p.pod, err)
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

// press lets memory run out, holds the pressure at every kill until the
// victim's memory is back, and returns when the scenario's end is reached.
func (r *runner) press(ctx context.Context) error {
	if c := r.scenario.Control; c != nil && c.Sigkill != "" {
		return r.sabotage(ctx, c.Sigkill)
	}
	if c := r.scenario.Control; c != nil && c.RestartKubelet {
		node, ok := r.node.(RestartsKubelet)
		if !ok {
			return fmt.Errorf("the %s lab has no kubelet to restart", r.lab.Name())
		}
		r.tell("press", "the kubelet is restarted behind everybody's back")
		if err := node.RestartKubelet(ctx); err != nil {
			return err
		}
	}
	if c := r.scenario.Control; c != nil && c.LoseKernelLog {
		r.tell("press", "what the kernel logs about the first kill is lost")
		r.recorder.LoseNextKill()
	}
	until := r.scenario.Until
	r.tell("press", "memory runs out, until %s", untilText(until))
	if err := r.signalPressers(goOn); err != nil {
		return err
	}
	deadline := time.After(until.Deadline())
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for needed := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline:
			r.tell("press", "nothing more happened within %s", until.Deadline())
			return r.signalPressers(hold)
		case k := <-r.recorder.Killed():
			group, err := r.afterKill(ctx, k)
			if err != nil {
				return err
			}
			needed += group
			matched, _ := verdict.Matched(r.record, r.recorder.Seen())
			if until.Kills > 0 && max(needed, matched) >= until.Kills {
				return nil
			}
			if err := r.signalPressers(goOn); err != nil {
				return err
			}
		case <-again.C:
			r.recorder.NoteThreads()
			// Two signals that are pending together are taken by number, not
			// by age: a "go on" may have been overtaken by the "hold" before.
			if err := r.signalPressers(goOn); err != nil {
				return err
			}
		case <-look.C:
			done, err := r.evictionsReached(ctx)
			if err != nil {
				return err
			}
			if done {
				return r.signalPressers(hold)
			}
		}
	}
}

func untilText(u scenarios.Until) string {
	switch {
	case u.Kills > 0 && u.Evictions > 0:
		return fmt.Sprintf("%d kills or %d evictions", u.Kills, u.Evictions)
	case u.Evictions > 0:
		return fmt.Sprintf("%d pods are evicted", u.Evictions)
	}
	return fmt.Sprintf("%d processes are killed", u.Kills)
}

const (
	// uncharge bounds the wait for a victim's memory: the OOM reaper gives up
	// after 2 s of delay and 10 tries of 0.1 s (OOM_REAPER_DELAY,
	// mm/oom_kill.c).
	uncharge = 5 * time.Second
	// straggle is how long after that a needless kill may still be on its way
	// through the kernel's log.
	straggle = 50 * time.Millisecond
)

// afterKill holds the pressure until the victim's memory is back. It returns
// how many processes died by that decision; any other kill meanwhile is needless.
func (r *runner) afterKill(ctx context.Context, k record.Kill) (group int, err error) {
	group = 1
	if err := r.signalPressers(hold); err != nil {
		return group, err
	}
	r.tellKill(k)
	waiting := []record.Kill{k}
	deadline := time.After(uncharge)
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return group, context.Cause(ctx)
		case <-deadline:
			if len(waiting) > 0 {
				r.find(record.Finding{Name: "victim-keeps-memory", Text: fmt.Sprintf("%s still holds memory %s after it was killed", waiting[0].Owner, uncharge)})
			}
			return group, nil
		case <-quiet:
			return group, nil
		case next := <-r.recorder.Killed():
			r.tellKill(next)
			if next.Decision == k.Decision {
				group++
			}
			waiting, quiet = append(waiting, next), nil
		case <-time.After(time.Millisecond):
			if len(waiting) > 0 && !evidence.HasMemory(waiting[0].PID) {
				r.recorder.Uncharged(waiting[0].Order, time.Now())
				if waiting = waiting[1:]; len(waiting) == 0 {
					quiet = time.After(straggle)
				}
			}
		}
	}
}

func (r *runner) tellKill(k record.Kill) {
	where := ""
	switch k.OOMLevel {
	case "":
	case qos.LevelGlobal:
		where = " (the whole machine ran out)"
	default:
		where = fmt.Sprintf(" (the %s cgroup ran out)", k.OOMLevel)
	}
	r.tell("kill", "%d. the kernel killed %s, pid %d, oom_score_adj %d, which held %s%s",
		k.Order, k.Owner, k.PID, k.OOMScoreAdj, k.Freed.Human(), where)
}

func (r *runner) find(f record.Finding) {
	r.record.Findings = append(r.record.Findings, f)
	r.tell("finding", "%s: %s", f.Name, f.Text)
}

func (r *runner) evictionsReached(ctx context.Context) (bool, error) {
	if r.scenario.Until.Evictions == 0 {
		return false, nil
	}
	pods, err := r.node.Pods(ctx)
	if err != nil {
		return false, fmt.Errorf("read the pods: %w", err)
	}
	daemons, err := r.node.Daemons(ctx)
	if err != nil {
		return false, fmt.Errorf("read the node's daemons: %w", err)
	}
	for _, c := range daemons.Conditions {
		if !slices.Contains(r.record.Conditions, c) {
			r.record.Conditions = append(r.record.Conditions, c)
			r.tell("observe", "the node reports %s", c)
		}
	}
	evicted := 0
	for _, p := range pods {
		if p.Evicted() {
			evicted++
		}
	}
	return evicted >= r.scenario.Until.Evictions, nil
}

// sabotage kills a workload's processes as an OOM would, without one.
func (r *runner) sabotage(ctx context.Context, workload string) error {
	w, ok := r.scenario.Workload(workload)
	if !ok {
		return fmt.Errorf("no workload is called %q", workload)
	}
	for _, pod := range w.PodNames() {
		for _, c := range w.EachContainer() {
			m, err := r.waitMainProcess(ctx, pod, c.Name)
			if err != nil {
				return err
			}
			r.tell("press", "SIGKILL to %s, pid %d, in place of pressure", pod, m.PID)
			if err := r.signal(m, unix.SIGKILL); err != nil {
				return err
			}
		}
	}
	return nil
}
