package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/verdict"
	"github.com/oomlab/oomlab/scenarios"
)

// press lets memory run out, holds the pressure at every kill until the
// victim's memory is back, and returns when the scenario's end is reached.
func (r *runner) press(ctx context.Context) error {
	r.pressed = time.Now()
	if c := r.scenario.Control; c != nil && c.Sigkill != "" {
		return r.sabotage(ctx, c.Sigkill)
	}
	until := r.scenario.Until
	r.tell("press", "memory runs out, until %s", untilText(until))
	if c := r.scenario.Control; c != nil && c.LoseKernelLog {
		r.tell("press", "what the kernel logs about the first kill is lost")
		r.recorder.LoseNextKill()
	}
	if !r.opts.Expendable { // there the observer's own memory counts
		defer evidence.PostponeGC()()
	}
	r.pressing.Store(true)
	defer r.pressing.Store(false)
	if err := r.signalPressers(goOn); err != nil {
		return err
	}
	if err := r.meanwhile(ctx); err != nil {
		return err
	}
	limit := pressure(until, patience.With)
	deadline := time.After(limit)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for needed := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline:
			r.tell("press", "%s are over", limit)
			return r.signalPressers(hold)
		case k := <-r.recorder.Killed():
			group, err := r.afterKill(ctx, k)
			if err != nil {
				return err
			}
			r.marked.Store(0)
			needed += group
			matched, _ := verdict.Matched(r.record, r.recorder.Seen())
			if until.Kills > 0 && max(needed, matched) >= until.Kills {
				return r.letEnd()
			}
			if err := r.signalPressers(goOn); err != nil {
				return err
			}
		case <-again.C:
			r.recorder.NoteThreads()
			if time.Since(time.Unix(0, r.marked.Load())) < patience.With(logged) {
				continue
			}
			// Two signals that are pending together are taken by number, not
			// by age: a "go on" may have been overtaken by the "hold" before.
			if err := r.signalPressers(goOn); err != nil {
				return err
			}
		case <-look.C:
			done, err := r.lookAtNode(ctx)
			if err != nil {
				return err
			}
			if done {
				return r.signalPressers(hold)
			}
		}
	}
}

// pressure returns how long the pressure may last, by how a wait is stretched on
// this machine. Time that the story itself takes is none.
func pressure(u scenarios.Until, stretch func(time.Duration) time.Duration) time.Duration {
	if u.Kills == 0 && u.Evictions == 0 {
		return u.Deadline()
	}
	return stretch(u.Deadline())
}

func untilText(u scenarios.Until) string {
	switch {
	case u.Kills > 0 && u.Evictions > 0:
		return fmt.Sprintf("%d kills or %d evictions", u.Kills, u.Evictions)
	case u.Evictions > 0:
		return fmt.Sprintf("%d pods are evicted", u.Evictions)
	}
	if u.Kills == 0 {
		return fmt.Sprintf("%s are over", u.Deadline())
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
	// logged bounds the wait for the kill after the choice of its victim. None
	// comes for one that was exiting by itself.
	logged = time.Second
)

// holdAtMark holds the pressure as soon as the kernel has chosen a victim. The
// kill itself is delivered later, and sees to the rest.
func (r *runner) holdAtMark() {
	if !r.pressing.Load() {
		return
	}
	r.marked.Store(time.Now().UnixNano())
	_ = r.signalPressers(hold) // afterKill does it again, and tells if it fails
}

// afterKill holds the pressure until the victim's memory is back. It returns
// how many processes died by that decision; any other kill meanwhile is needless.
func (r *runner) afterKill(ctx context.Context, k record.Kill) (group int, err error) {
	group = 1
	if err := r.signalPressers(hold); err != nil {
		return group, err
	}
	r.tellKill(k)
	waiting := []record.Kill{k}
	deadline := time.After(patience.With(uncharge))
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return group, context.Cause(ctx)
		case <-deadline:
			if len(waiting) > 0 {
				r.find(record.Finding{Name: "victim-keeps-memory", Text: fmt.Sprintf("%s still holds %s %s after it was killed", waiting[0].Owner, r.heldBy(waiting[0].PID), uncharge)})
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

// heldBy says how much a process holds, as far as that can be read: once it has
// begun to give its memory back, nobody can tell how far it is.
func (r *runner) heldBy(pid int) string {
	page := r.record.Snapshot.Kernel.PageSize
	task, err := evidence.ReadTask(pid, page)
	if err != nil || task.NoMM {
		return "memory"
	}
	return task.RSS().Bytes(page).Human()
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

// lookAtNode notes the node's conditions and makes the pods that were to wait
// for one. It reports whether enough pods were evicted.
func (r *runner) lookAtNode(ctx context.Context) (bool, error) {
	late := slices.ContainsFunc(r.scenario.Workloads, func(w scenarios.Workload) bool { return w.After != "" })
	if r.scenario.Until.Evictions == 0 && !late {
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
		if slices.Contains(r.record.Conditions, c) {
			continue
		}
		r.record.Conditions = append(r.record.Conditions, c)
		r.tell("observe", "the node reports %s", c)
		for _, w := range r.scenario.Workloads {
			if w.After != c {
				continue
			}
			r.tell("press", "%s is made", w.Name)
			if err := r.kubeletNode().Create(ctx, w); err != nil {
				return false, err
			}
		}
	}
	evicted := 0
	for _, p := range pods {
		if p.Evicted() {
			evicted++
		}
	}
	// The API server may know of the eviction before it knows of the pressure.
	reported := slices.Contains(r.record.Conditions, "MemoryPressure")
	return r.scenario.Until.Evictions > 0 && evicted >= r.scenario.Until.Evictions && reported && r.allMade(), nil
}

// allMade reports whether the pods that wait for a condition have been made.
func (r *runner) allMade() bool {
	return !slices.ContainsFunc(r.scenario.Workloads, func(w scenarios.Workload) bool {
		return w.After != "" && !slices.Contains(r.record.Conditions, w.After)
	})
}

// kubeletNode is the node of a lab that has a kubelet. The other labs have
// refused by now what asks for one.
func (r *runner) kubeletNode() KubeletNode { return r.node.(KubeletNode) }

// meanwhile does what else is to happen while memory runs out.
func (r *runner) meanwhile(ctx context.Context) error {
	actions := r.scenario.Meanwhile
	if c := r.scenario.Control; c != nil && c.RestartKubelet {
		actions = append(slices.Clone(actions), scenarios.Action{RestartKubelet: true})
	}
	for _, a := range actions {
		if a.RestartKubelet {
			r.tell("press", "the kubelet is restarted")
			if err := r.kubeletNode().RestartKubelet(ctx); err != nil {
				return err
			}
		}
		if a.Resize != nil {
			r.tell("press", "the limit of %s is set to %s", a.Resize.Workload, a.Resize.Limit)
			if err := r.kubeletNode().Resize(ctx, *a.Resize); err != nil {
				return err
			}
		}
	}
	return nil
}

// sabotage kills a workload's processes as an OOM would, without one.
func (r *runner) sabotage(ctx context.Context, workload string) error {
	w, ok := r.scenario.Workload(workload)
	if !ok {
		return fmt.Errorf("no workload is called %q", workload)
	}
	for _, pod := range w.PodNames() {
		for _, c := range w.EachContainer() {
			m, err := r.waitMainProcess(ctx, w.Name, pod, c.Name)
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
