// Package run carries a scenario out in a lab: prepare, settle, snapshot,
// predict, press, observe, recover, judge. The command line and the end-to-end
// suite are two doors to it. It needs to be on the machine whose kernel the
// node runs on, as root: evidence is read from outside the node.
package run

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/reconcile"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/verdict"
	"github.com/oomlab/oomlab/scenarios"
)

// Lab is where scenarios run.
type Lab interface {
	// Name is the lab's name: kind, cgroup, vm.
	Name() string
	// Prepare returns a clean node of exactly the size that the scenario asks
	// for, its kubelet configured as asked.
	Prepare(ctx context.Context, s *scenarios.Scenario) (Node, error)
}

// Node is a prepared node, for one scenario. Its processes are visible in this
// machine's /proc and its memory in this machine's cgroups.
type Node interface {
	// Facts describes the node, and its cgroups by their path on this machine.
	Facts() record.Node
	// Kubelet is the configuration that the formulas need.
	Kubelet() qos.Node
	// Owner says whose a memory cgroup is.
	Owner(cgroup string) record.Owner
	// Start starts the workloads and returns when every balloon holds.
	Start(ctx context.Context) error
	// Pods returns the pods as their runtime tells.
	Pods(ctx context.Context) ([]record.Pod, error)
	// Daemons returns the state of what must live through it all.
	Daemons(ctx context.Context) (record.Daemons, error)
	// Recover ends the pressing pods, waits until the node has recovered and
	// starts a fresh pod.
	Recover(ctx context.Context) error
	// Close removes the workloads. It must work after a failure, too.
	Close(ctx context.Context) error
}

// InsidePods is a Node that can look from inside a container.
type InsidePods interface {
	// ScoresInPod reads /proc/1/oom_score_adj and oom_score in the container.
	ScoresInPod(ctx context.Context, pod, container string) (adj, score int, err error)
}

// KubeletNode is a Node with a kubelet and an API server, which more can be
// asked of.
type KubeletNode interface {
	Node
	// RestartKubelet restarts the kubelet.
	RestartKubelet(ctx context.Context) error
	// Resize gives the container of a workload another limit, in place.
	Resize(ctx context.Context, r scenarios.Resize) error
	// Create makes the pods of a workload that Start has left out, and does not
	// wait for them.
	Create(ctx context.Context, w scenarios.Workload) error
	// Events returns what was told of the scenario's pods and the node since then.
	Events(ctx context.Context, since time.Time) ([]record.KubernetesEvent, error)
	// Jobs returns the scenario's Jobs.
	Jobs(ctx context.Context) ([]record.Job, error)
}

// Options are the choices of a run.
type Options struct {
	Host record.Host
	// Expendable says that this machine was made for the run and ends with it:
	// nothing on it needs a reserve of memory.
	Expendable bool
	// Observe is called with every line of the story, in order.
	Observe func(record.Event)
	// BeforeClose is called while the workloads still exist, after a failure,
	// too. Nil does nothing.
	BeforeClose func(context.Context)
}

// UnsupportedError is what a lab's Prepare returns for a scenario that it can't
// carry out, whatever the machine has. The verdict is then unsupported.
type UnsupportedError struct {
	Missing string // what the lab lacks, and for what
}

func (e *UnsupportedError) Error() string { return e.Missing }

// ErrUnsafe says that the pressure would endanger the machine.
var ErrUnsafe = errors.New("not enough free memory to run this safely")

// Run carries out the scenario and judges it. The record is returned whenever
// the run got far enough to have one, even next to an error: an error means
// that the run could not be finished, and says nothing about the scenario.
func Run(ctx context.Context, lab Lab, s *scenarios.Scenario, opts Options) (*record.Record, error) {
	r := &runner{
		lab: lab, scenario: s, opts: opts,
		record: &record.Record{
			Schema: record.Schema, Started: time.Now().UTC(), Lab: lab.Name(),
			Host: opts.Host, Scenario: s, Verdict: record.Inconclusive,
		},
	}
	err := r.run(ctx)
	r.record.ElapsedSeconds = time.Since(r.record.Started).Seconds()
	if err != nil {
		r.record.Error = err.Error()
		return r.record, fmt.Errorf("run %s in the %s lab: %w", s.Metadata.Name, lab.Name(), err)
	}
	if r.record.Verdict != record.Unsupported {
		r.record.Claims, r.record.Verdict = verdict.Judge(r.record)
	}
	return r.record, nil
}

// runner holds what the steps of one run share.
type runner struct {
	lab       Lab
	scenario  *scenarios.Scenario
	opts      Options
	record    *record.Record
	hierarchy evidence.Hierarchy
	node      Node
	recorder  *evidence.Recorder

	// pressed is when memory began to run out.
	pressed time.Time
	// ending says that plans that have an end were let go on to it.
	ending bool
	// pressing is set while memory runs out; marked is when the kernel last chose
	// somebody then whose kill is yet to come, in Unix nanoseconds.
	pressing atomic.Bool
	marked   atomic.Int64
}

// tell adds a line to the story.
func (r *runner) tell(step, format string, args ...any) {
	event := record.Event{
		AtSeconds: time.Since(r.record.Started).Seconds(),
		Step:      step, Text: fmt.Sprintf(format, args...),
	}
	r.record.Timeline = append(r.record.Timeline, event)
	if r.opts.Observe != nil {
		r.opts.Observe(event)
	}
}

// closeTimeout bounds the removal of the workloads, which also has to work
// after the run was interrupted.
const closeTimeout = time.Minute

func (r *runner) run(ctx context.Context) (err error) {
	if r.unmet(0) {
		return nil
	}
	if r.hierarchy, err = evidence.FindHierarchy(); err != nil {
		return err
	}
	if !r.opts.Expendable {
		var unguard func()
		if ctx, unguard, err = Guard(ctx, r.scenario.Node.Memory.Bytes); err != nil {
			return err
		}
		defer unguard()
	}

	r.tell("prepare", "a node of %s, of which %s for pods", r.scenario.Node.Memory, r.scenario.Node.Kubepods())
	if r.node, err = r.lab.Prepare(ctx, r.scenario); err != nil {
		if lacking := new(UnsupportedError); errors.As(err, &lacking) {
			r.unsupported(verdict.NotRun(lacking.Missing))
			return nil
		}
		return fmt.Errorf("prepare the node: %w", cause(ctx, err))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience.With(closeTimeout))
		defer cancel()
		if r.opts.BeforeClose != nil {
			r.opts.BeforeClose(ctx)
		}
		err = errors.Join(err, r.node.Close(ctx))
	}()
	kubelet := r.node.Kubelet()
	r.record.Node = r.node.Facts()
	r.record.Node.Kubelet = &kubelet
	if r.unmet(kubelet.Version) {
		return nil
	}
	// The evidence is collected from before anything could go wrong.
	if r.recorder, err = r.hierarchy.Record(context.WithoutCancel(ctx), r.record.Node.Cgroup, r.node.Owner, r.holdAtMark); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, r.reconcile())
	}()
	defer r.drawCurve(ctx)()

	for _, step := range []func(context.Context) error{r.settle, r.predict, r.press, r.observe, r.recover} {
		if err := step(ctx); err != nil {
			return cause(ctx, err)
		}
	}
	return nil
}

// drawCurve begins the curve of what is to run out, and returns what ends it.
func (r *runner) drawCurve(ctx context.Context) (end func()) {
	cgroup := r.record.Node.Kubepods
	if r.scenario.Node.Domain == qos.LevelNode {
		cgroup = r.record.Node.Cgroup
	}
	ctx, cancel := context.WithCancel(ctx)
	curve := r.hierarchy.Curve(ctx, cgroup, r.record.Started)
	return func() {
		cancel()
		c := <-curve
		r.record.Curve = &c
	}
}

// unmet ends the run with a verdict where something is missing.
func (r *runner) unmet(kubelet qos.Version) bool {
	c, missing := verdict.Unmet(r.scenario, r.opts.Host, kubelet)
	if missing {
		r.unsupported(c)
	}
	return missing
}

// unsupported makes the claim the only one.
func (r *runner) unsupported(c record.Claim) {
	r.record.Claims, r.record.Verdict = []record.Claim{c}, record.Unsupported
	r.tell("prepare", "%s", c.Sentence)
}

// reconcile ends the watch and puts together what everybody saw.
func (r *runner) reconcile() error {
	seen, sources, err := r.recorder.Stop()
	seen.Before, seen.After = r.record.Before, r.record.After
	seen.ScoresBefore = map[int]int{}
	for _, t := range r.record.Snapshot.Tasks {
		seen.ScoresBefore[t.PID] = t.OOMScoreAdj
	}
	runtime := record.Source{Name: reconcile.Runtime, Error: r.record.Node.NoKubelet}
	seen.NoRuntime = runtime.Error != ""
	result := reconcile.Reconcile(seen)
	r.record.Kills, r.record.ScoreWrites, r.record.Sources = result.Kills, result.Scores, append(sources, runtime)
	for _, f := range result.Findings {
		r.find(f)
	}
	return err
}

// cause prefers the reason for which the run was cancelled to its consequence.
func cause(ctx context.Context, err error) error {
	if reason := context.Cause(ctx); reason != nil && !errors.Is(err, reason) {
		return fmt.Errorf("%w (%w)", reason, err)
	}
	return err
}
