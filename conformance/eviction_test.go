package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/oomlab/oomlab/internal/eviction"
	"github.com/oomlab/oomlab/internal/mem"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	kubelet "k8s.io/kubernetes/pkg/kubelet/eviction"
	"k8s.io/utils/clock"
)

// The kubelet does not export its ranking, so its whole eviction manager runs
// here: with statistics made up from a random eviction.State, a clock that
// jumps, and a way to kill that only takes note. Each of its victims must be
// one that the model allows, with the grace period that it foresees, and it
// must stop evicting where the model says that enough memory is available.

// experiment is the world around one eviction manager.
type experiment struct {
	t      *testing.T
	config eviction.Config
	random generator
	left   int // states to come
	kills  int
	ties   int // kills of one pod among equals

	state   eviction.State
	active  []*v1.Pod
	idle    int // looks without a kill since the last one
	resting bool
	now     time.Time
	began   time.Time // when the state was invented
}

// looks is how often the manager looks before a soft threshold has certainly
// been met for long enough.
const looks, period = 4, 10 * time.Second

func TestEviction(t *testing.T) {
	klog.SetLoggerWithOptions(logr.Discard(), klog.ContextualLogger(true))
	type m = map[string]string
	memory := string(eviction.MemoryAvailable)
	soft := map[string]time.Duration{memory: 2 * period}
	configs := []eviction.Config{
		{},
		{PodsNotEnforced: true},
		{Hard: m{memory: "5%"}, MinimumReclaim: m{memory: "3%"}},
		{Hard: m{memory: "333Mi"}, MinimumReclaim: m{memory: "1Gi"}},
		{Hard: m{memory: "0%"}, Soft: m{memory: "10%"}, SoftGracePeriod: soft, MaxPodGracePeriod: 30 * time.Second},
		{Hard: m{memory: "200Mi"}, Soft: m{memory: "1Gi"}, SoftGracePeriod: soft, MinimumReclaim: m{memory: "100Mi"}, MaxPodGracePeriod: 30 * time.Second},
	}
	for i, c := range configs {
		c.Version = minor
		e := &experiment{t: t, config: c, left: *pods / len(configs) / 5, random: generator{rand.New(rand.NewPCG(*seed, uint64(i)))}}
		total := e.left
		if !e.run() {
			return
		}
		if e.kills < total/5 || e.ties == 0 {
			t.Errorf("%d evictions, %d of them from ties, on %d nodes: too few to prove anything", e.kills, e.ties, total)
		}
		t.Logf("%d nodes, %d evictions (%d from ties), settings %d, kubelet 1.%d", total, e.kills, e.ties, i, minor)
	}
}

// run returns false after the first difference.
func (e *experiment) run() bool {
	soft := map[string]string{}
	for signal, d := range e.config.SoftGracePeriod {
		soft[signal] = d.String()
	}
	enforced := []string{"pods"}
	if e.config.PodsNotEnforced {
		enforced = nil
	}
	hard := e.config.Hard
	if hard == nil {
		hard = kubelet.DefaultEvictionHard
	}
	thresholds, err := kubelet.ParseThresholdConfig(enforced, hard, e.config.Soft, soft, e.config.MinimumReclaim)
	if err != nil {
		e.t.Fatal(err)
	}
	manager, _ := kubelet.NewManager(e, kubelet.Config{
		Thresholds:               thresholds,
		MaxPodGracePeriodSeconds: int64(e.config.MaxPodGracePeriod / time.Second),
	}, e.kill, noGC{}, noGC{}, &record.FakeRecorder{}, &v1.ObjectReference{}, jumpingClock{e: e}, false)
	done := make(chan struct{})
	e.rest()
	start(manager, noGC{}, func() []*v1.Pod { return e.look(done) }, func(*v1.Pod) bool { return true })
	<-done
	return !e.t.Failed()
}

// look is called once each time the manager looks, before it reads statistics.
func (e *experiment) look(done chan struct{}) []*v1.Pod {
	e.now = e.now.Add(period)
	e.idle++
	switch {
	case e.resting && e.idle > 1:
		if e.left--; e.left < 0 || e.t.Failed() {
			close(done)
			runtime.Goexit() // the manager has no other end
		}
		e.resting, e.idle = false, 0
		e.invent()
	case !e.resting && e.idle > looks:
		e.expectNoMore()
		e.rest()
	}
	return slices.Clone(e.active)
}

// rest shows memory in plenty, so that the manager forgets what it has seen.
func (e *experiment) rest() {
	e.resting, e.idle = true, 0
	e.state, e.active = eviction.State{Node: eviction.Node{Capacity: mem.TiB, KubepodsLimit: mem.LimitOf(mem.TiB)}}, nil
}

// invent makes up a node that is short of memory, or nearly so.
func (e *experiment) invent() {
	g := e.random
	e.state, e.active, e.began = eviction.State{}, nil, e.now
	for i := range 1 + g.IntN(10) {
		p := eviction.Pod{Pod: g.pod(fmt.Sprint(i)), WorkingSet: g.memory(), NoStats: g.oneIn(12)}
		if !g.oneIn(4) {
			p.Priority, p.Static, p.Mirror = p.Priority%3, false, false
		}
		if g.oneIn(3) && i > 0 { // make ties
			p.WorkingSet, p.Priority = e.state.Pods[0].WorkingSet, e.state.Pods[0].Priority
			p.Containers, p.Resources, p.Overhead = e.state.Pods[0].Containers, e.state.Pods[0].Resources, e.state.Pods[0].Overhead
		}
		p.GracePeriod = time.Duration(1+g.IntN(60)) * time.Second
		api := g.toAPI(p.Pod)
		seconds := int64(p.GracePeriod / time.Second)
		api.Spec.TerminationGracePeriodSeconds = &seconds
		e.state.Pods, e.active = append(e.state.Pods, p), append(e.active, api)
	}
	n := eviction.Node{Capacity: mem.GiB + mem.Bytes(g.Int64N(int64(63*mem.GiB)))}
	limit := n.Capacity - mem.Bytes(g.IntN(1024))*mem.MiB
	n.KubepodsLimit = mem.LimitOf(limit)
	near := func() mem.Bytes { return mem.Bytes(g.IntN(2048)-200) * mem.MiB / 2 }
	n.Root = eviction.Usage{Usage: n.Capacity - near()}
	n.Kubepods = eviction.Usage{Usage: limit - near()}
	e.state.Node = n
}

// kill compares the manager's victim with the model's, and lets it go.
func (e *experiment) kill(victim *v1.Pod, _ bool, grace *int64, _ func(*v1.PodStatus)) error {
	p := e.predict()
	e.idle = 0
	i := slices.IndexFunc(e.state.Pods, func(p eviction.Pod) bool { return p.Name == victim.Name })
	if i < 0 || !slices.ContainsFunc(p.First, func(f int) bool { return p.Ranking[f].Name == victim.Name }) {
		e.t.Errorf("kubelet evicts %s, predicted: %s %v of %+v", victim.Name, p.Outcome, p.First, p.Ranking)
		e.active = nil
		return nil
	}
	e.kills++
	if len(p.First) > 1 {
		e.ties++
	}
	pod := e.state.Pods[i]
	e.compareGrace(time.Duration(*grace)*time.Second, p, pod)
	if !pod.NoStats {
		e.state.Node.Root.Usage -= pod.WorkingSet
		e.state.Node.Kubepods.Usage -= pod.WorkingSet
	}
	e.state.Pods = slices.Delete(e.state.Pods, i, i+1)
	e.active = slices.DeleteFunc(e.active, func(p *v1.Pod) bool { return p.Name == victim.Name })
	e.state.Met = nil
	for _, t := range p.Thresholds {
		e.state.Met = append(e.state.Met, t.Threshold)
	}
	return nil
}

func (e *experiment) compareGrace(got time.Duration, p eviction.Prediction, victim eviction.Pod) {
	soft, hard := false, false
	for _, t := range p.Thresholds {
		soft, hard = soft || t.Soft, hard || !t.Soft
	}
	want := p.Grace
	if len(p.First) > 1 && !hard { // the tie's grace is that of its first pod
		want = min(e.config.MaxPodGracePeriod, victim.GracePeriod)
	}
	if either := soft && hard; got != want && !either {
		e.t.Errorf("grace period %s, kubelet gives %s", want, got)
	}
}

func (e *experiment) expectNoMore() {
	if p := e.predict(); len(p.First) > 0 {
		e.t.Errorf("kubelet evicts nobody, predicted: %s %v of %+v for %+v", p.Outcome, p.First, p.Ranking, p.Thresholds)
	}
}

func (e *experiment) predict() eviction.Prediction {
	if e.idle > 1 {
		e.state.Met = nil // forgotten by the look that found nothing to do
	}
	e.state.MetFor = e.now.Sub(e.began)
	p, err := e.config.Predict(e.state)
	if err != nil {
		e.t.Error(err)
	}
	return p
}

// Get makes the experiment a SummaryProvider.
func (e *experiment) Get(context.Context, bool) (*statsapi.Summary, error) {
	n := e.state.Node
	now := metav1.NewTime(e.now)
	stats := func(available, workingSet mem.Bytes) *statsapi.MemoryStats {
		a, w := uint64(available), uint64(workingSet) // wraps where negative, as in the kubelet
		return &statsapi.MemoryStats{Time: now, AvailableBytes: &a, WorkingSetBytes: &w}
	}
	limit, _ := n.KubepodsLimit.Bytes()
	s := &statsapi.Summary{Node: statsapi.NodeStats{
		Memory: stats(n.Capacity-n.Root.WorkingSet(), n.Root.WorkingSet()),
		SystemContainers: []statsapi.ContainerStats{{
			Name: statsapi.SystemContainerPods, Memory: stats(limit-n.Kubepods.WorkingSet(), n.Kubepods.WorkingSet())}},
	}}
	for _, p := range e.state.Pods {
		if !p.NoStats {
			s.Pods = append(s.Pods, statsapi.PodStats{
				PodRef: statsapi.PodReference{Name: p.Name, Namespace: p.Namespace, UID: p.UID},
				Memory: stats(0, p.WorkingSet),
			})
		}
	}
	return s, nil
}

// GetCPUAndMemoryStats completes the interface.
func (e *experiment) GetCPUAndMemoryStats(ctx context.Context) (*statsapi.Summary, error) {
	return e.Get(ctx, false)
}

// jumpingClock shows the experiment's time and lets nobody wait.
type jumpingClock struct {
	clock.RealClock
	e *experiment
}

func (c jumpingClock) Now() time.Time                       { return c.e.now }
func (c jumpingClock) Since(t time.Time) time.Duration      { return c.e.now.Sub(t) }
func (c jumpingClock) NewTicker(time.Duration) clock.Ticker { return tick{} }

type tick struct{}

func (tick) C() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}
func (tick) Stop() {}

// noGC is a node without disks, images or dead containers.
type noGC struct{}

func (noGC) HasDedicatedImageFs(context.Context) (bool, error)     { return false, nil }
func (noGC) HasDedicatedContainerFs(context.Context) (bool, error) { return false, nil }
func (noGC) DeleteUnusedImages(context.Context) error              { return nil }
func (noGC) DeleteAllUnusedContainers(context.Context) error       { return nil }
