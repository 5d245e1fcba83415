package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// settle starts the workloads, waits until they hold what they should, and
// reads their scores.
func (r *runner) settle(ctx context.Context) (err error) {
	if err := r.node.Start(ctx); err != nil {
		return fmt.Errorf("start the workloads: %w", err)
	}
	if r.record.Before, err = r.node.Pods(ctx); err != nil {
		return fmt.Errorf("read the pods: %w", err)
	}
	if r.record.DaemonsBefore, err = r.node.Daemons(ctx); err != nil {
		return fmt.Errorf("read the node's daemons: %w", err)
	}
	r.tell("settle", "%d pods hold what they should", len(r.record.Before))
	if r.record.Limits, err = r.readLimits(); err != nil {
		return err
	}
	return r.readScores(ctx, settled, r.record.Before)
}

// censusWait bounds the wait for a process that the runtime says is running.
const censusWait = 5 * time.Second

// pollCensus is how often the census is asked, which takes 20 ms for a round.
const pollCensus = 20 * time.Millisecond

// The two moments at which scores are read.
const (
	settled   = "settled"
	restarted = "restarted"
)

var errNoProcess = errors.New("it has no process")

// waitProcess waits until the census has met the presser's process.
func (r *runner) waitProcess(ctx context.Context, p presser) (m evidence.Member, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience.With(censusWait))
	defer cancel()
	err = poll(ctx, pollCensus, func(context.Context) (found bool, err error) {
		m, found = r.process(p)
		return found, nil
	})
	if err != nil {
		return m, fmt.Errorf("container %s/%s below %s: %w (%w)", p.pod, p.container.Name, r.record.Node.Cgroup, errNoProcess, err)
	}
	return m, nil
}

// waitMainProcess waits until the census has met the first process of a
// container: the one that the runtime started.
func (r *runner) waitMainProcess(ctx context.Context, workload, pod, container string) (evidence.Member, error) {
	return r.waitProcess(ctx, presser{workload: workload, pod: pod, container: scenarios.Container{Name: container}})
}

// readScores adds the scores of every running container to the record.
func (r *runner) readScores(ctx context.Context, when string, pods []record.Pod) error {
	kernel, err := r.hierarchy.Kernel()
	if err != nil {
		return err
	}
	for _, pod := range pods {
		w, ok := r.scenario.Workload(pod.Workload)
		if !ok {
			continue
		}
		for _, c := range pod.Containers {
			if !c.Running {
				continue
			}
			score, err := r.readScore(ctx, kernel, w, pod, c.Name)
			if errors.Is(err, errNoProcess) && when == restarted {
				continue // killed again, and backing off; the claim says what is missing
			} else if err != nil {
				return err
			}
			score.When = when
			r.record.Scores = append(r.record.Scores, score)
		}
	}
	return nil
}

func (r *runner) readScore(ctx context.Context, kernel oom.Kernel, w scenarios.Workload, pod record.Pod, container string) (s record.Score, err error) {
	m, err := r.waitMainProcess(ctx, w.Name, pod.Name, container)
	if err != nil {
		return record.Score{}, err
	}
	defer func() {
		if err != nil && !evidence.HasMemory(m.PID) {
			err = fmt.Errorf("%w any more (%w)", errNoProcess, err) // it may have been killed meanwhile
		}
	}()
	task, err := evidence.ReadTask(m.PID, kernel.PageSize)
	if err != nil {
		return record.Score{}, err
	}
	kubelet, spec := r.node.Kubelet(), w.Pod(pod.Name)
	s = record.Score{
		Owner: r.node.Owner(m.Cgroup), PID: m.PID, QoSClass: string(qos.ClassOf(spec, kubelet.Version)),
		Observed: task.OOMScoreAdj, OOMScore: *task.ObservedOOMScore, OOMModel: kernel.OOMScore(task),
	}
	for _, c := range spec.Containers {
		if c.Name == container {
			s.Formula = w.ScoreOf(kubelet, spec, c)
		}
	}
	if s.Formula < r.opts.Host.LowestAdj && s.Observed >= r.opts.Host.LowestAdj {
		s.Explained = r.opts.Host.LowestAdjProof
	}
	if inside, ok := r.node.(InsidePods); ok {
		adj, score, err := inside.ScoresInPod(ctx, pod.Name, container)
		if err != nil {
			return s, fmt.Errorf("read the scores inside %s/%s: %w", pod.Name, container, err)
		}
		s.InPod, s.OOMInPod = &adj, &score
	}
	return s, nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// poll asks again and again until done says yes. What err says last is part of
// the error when ctx ends first.
func poll(ctx context.Context, every time.Duration, done func(context.Context) (bool, error)) error {
	for {
		ok, err := done(ctx)
		if err == nil && ok {
			return nil
		}
		if waitErr := sleep(ctx, every); waitErr != nil {
			return errors.Join(waitErr, err)
		}
	}
}
