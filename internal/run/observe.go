package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/record"
)

// restartWait bounds the wait for the kubelet to restart what was killed. The
// first restart is immediate, the second comes after 10 s.
const restartWait = 45 * time.Second

// controlWait takes its place in a negative control, which may wait for what
// must not come.
const controlWait = 10 * time.Second

// observe waits until the runtime has answered to every kill, and reads the
// scores of what was restarted once more.
func (r *runner) observe(ctx context.Context) error {
	if err := r.readReclaim(+1); err != nil {
		return err
	}
	limit := restartWait
	if r.scenario.Control != nil {
		limit = controlWait
	}
	wait, cancel := context.WithTimeout(ctx, patience.With(limit))
	defer cancel()
	err := poll(wait, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		if r.ending {
			if err := r.letEnd(); err != nil {
				return false, err
			}
		}
		pods, err := r.node.Pods(ctx)
		if err != nil {
			return false, err
		}
		r.record.After = pods
		if node, ok := r.node.(KubeletNode); ok {
			if r.record.Jobs, err = node.Jobs(ctx); err != nil {
				return false, err
			}
		}
		return r.answered(pods, r.recorder.Seen()), nil
	})
	if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
		return fmt.Errorf("wait for restarts: %w", err)
	}
	// Out of time is no error: the claims say what did not happen.
	var back []record.Pod
	for _, p := range r.record.After {
		if d := restarts(r.record.Before, p); d > 0 && running(p) {
			back = append(back, p)
		}
	}
	for _, p := range r.record.After {
		for _, c := range p.Containers {
			if c.Ended != nil {
				r.tell("observe", "%s: %s, exit code %d, restarts %d, %s", p.Name, c.Ended.Reason, c.Ended.ExitCode, c.RestartCount, state(p, c))
			}
		}
		if p.Evicted() {
			r.tell("observe", "%s: evicted: %s", p.Name, cmp.Or(p.Message, p.Terminated))
		}
	}
	if err := r.readEvents(ctx); err != nil {
		return err
	}
	return r.readScores(ctx, restarted, back)
}

// readEvents notes what Kubernetes told of it all, and tells the warnings.
func (r *runner) readEvents(ctx context.Context) (err error) {
	node, ok := r.node.(KubeletNode)
	if !ok {
		return nil
	}
	if r.record.KubernetesEvents, err = node.Events(ctx, r.pressed); err != nil {
		return err
	}
	for _, e := range r.record.KubernetesEvents {
		if e.Warning {
			r.tell("observe", "%s: event %s, %d×: %s", e.Object, e.Reason, e.Count, e.Message)
		}
	}
	return nil
}

// answered reports whether every container whose first process was killed has
// ended, or whose plan was let go on to its end, and every pod that was to end or
// to come back has.
func (r *runner) answered(pods []record.Pod, kills []record.Kill) bool {
	if r.record.Node.NoKubelet != "" {
		return true
	}
	expect := r.scenario.Expect
	for _, k := range kills {
		if k.Main && !ended(r.record.Before, pods, k.Owner) {
			return false
		}
	}
	for _, p := range r.pressers() {
		owner := record.Owner{Pod: p.pod, Container: p.container.Name}
		if r.ending && p.container.Ends && !p.exec && !ended(r.record.Before, pods, owner) {
			return false
		}
	}
	for _, name := range expect.JobFailed {
		if !slices.ContainsFunc(r.record.Jobs, func(j record.Job) bool { return j.Workload == name && j.Failed }) {
			return false
		}
	}
	for _, name := range expect.Admitted {
		if !slices.ContainsFunc(pods, func(p record.Pod) bool { return p.Workload == name && p.Phase == "Running" }) {
			return false
		}
	}
	for _, name := range slices.Concat(expect.ResizeRefused, expect.Refused) {
		if !slices.ContainsFunc(pods, func(p record.Pod) bool { return p.Workload == name && (p.Resize != "" || p.Refused()) }) {
			return false
		}
	}
	for _, p := range pods {
		for _, name := range expect.Completed {
			if p.Workload == name && p.Phase != "Succeeded" {
				return false
			}
		}
		for _, name := range expect.Restarted {
			if p.Workload == name && (restarts(r.record.Before, p) == 0 || !running(p)) {
				return false
			}
		}
		for _, name := range expect.Failed {
			if p.Workload == name && p.Phase != "Failed" {
				return false
			}
		}
	}
	return true
}

// ended reports whether the runtime has noticed the end of a container. One
// that is not there any more has ended, too.
func ended(before, now []record.Pod, owner record.Owner) bool {
	for _, p := range now {
		for _, c := range p.Containers {
			if p.Name == owner.Pod && c.Name == owner.Container {
				return !c.Running || restarts(before, p) > 0
			}
		}
	}
	return true
}

// restarts is how often the containers of the pod restarted since before.
func restarts(before []record.Pod, pod record.Pod) int {
	n := 0
	for _, c := range pod.Containers {
		n += c.RestartCount
	}
	for _, b := range before {
		if b.UID == pod.UID {
			for _, c := range b.Containers {
				n -= c.RestartCount
			}
		}
	}
	return n
}

func running(p record.Pod) bool {
	for _, c := range p.Containers {
		if !c.Running && !c.Done() {
			return false
		}
	}
	return len(p.Containers) > 0
}

func state(p record.Pod, c record.Container) string {
	if c.Running {
		return "running"
	}
	return p.Phase
}

// recover ends the pressure and sees whether the node is as good as before.
func (r *runner) recover(ctx context.Context) (err error) {
	for late := true; late; {
		select {
		case k := <-r.recorder.Killed():
			r.tellKill(k)
		default:
			late = false
		}
	}
	if err := r.node.Recover(ctx); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if r.record.DaemonsAfter, err = r.node.Daemons(ctx); err != nil {
		return fmt.Errorf("read the node's daemons: %w", err)
	}
	r.tell("recover", "the pressure is gone")
	return nil
}
