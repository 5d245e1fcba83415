package forecast

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/eviction"
)

// Eviction is what the kubelet does about the pressure.
type Eviction struct {
	// MetAfterSeconds is the time of the press plans after which a threshold is
	// first met; -1: never.
	MetAfterSeconds float64 `json:"metAfterSeconds"`
	// FullAfterSeconds is that after which a limit is reached, so that the
	// kernel kills; -1: never.
	FullAfterSeconds float64 `json:"fullAfterSeconds"`
	// Evicted are the workloads of the pods that go, in order.
	Evicted []string `json:"evicted,omitempty"`
	// Predictions are the kubelet's decisions, each with its ranking.
	Predictions []eviction.Prediction `json:"predictions,omitempty"`
}

// evictionPeriod is how often the kubelet looks (evictionMonitoringPeriod): it
// is surely faster than the kernel only with a lead of more than that.
const evictionPeriod = 10 * time.Second

// evictionAtLeast is what a kubelet needs to read statistics, to choose a pod and
// to end it, even if it happens to look at the right moment.
const evictionAtLeast = 500 * time.Millisecond

// First tells who acts first. Neither is sure where both come within one period
// of the kubelet.
func (e *Eviction) First() (kubelet, kernel bool) {
	switch {
	case e.MetAfterSeconds < 0:
		return false, e.FullAfterSeconds >= 0
	case e.FullAfterSeconds < 0:
		return true, false
	}
	lead := e.FullAfterSeconds - e.MetAfterSeconds
	return lead > evictionPeriod.Seconds(), lead < evictionAtLeast.Seconds()
}

// evictionStep is the resolution of the plans' time.
const evictionStep = 100 * time.Millisecond

// evictions lets every grower follow its plan, until the deadline.
func (n *node) evictions() (*Eviction, error) {
	config, err := n.evictionConfig()
	if err != nil {
		return nil, err
	}
	e := &Eviction{MetAfterSeconds: -1, FullAfterSeconds: -1}
	var metFor time.Duration
	for t := time.Duration(0); t <= n.scenario.Until.Deadline(); t += evictionStep {
		grown := n.at(t)
		if e.FullAfterSeconds < 0 && grown.full() {
			e.FullAfterSeconds = t.Seconds()
		}
		if e.MetAfterSeconds >= 0 {
			continue
		}
		state := grown.state()
		soft := state
		soft.MetFor = time.Duration(1<<63 - 1)
		if p, err := config.Predict(soft); err != nil {
			return nil, err
		} else if len(p.Thresholds) == 0 {
			metFor = 0
			continue
		}
		metFor += evictionStep
		state.MetFor = metFor
		p, err := config.Sequence(state)
		if err != nil {
			return nil, err
		}
		if len(p[0].Thresholds) > 0 {
			e.MetAfterSeconds = t.Seconds()
			e.Predictions = p[:min(len(p), max(1, n.scenario.Until.Evictions))]
		}
	}
	for _, p := range e.Predictions {
		if len(p.First) > 0 {
			e.Evicted = append(e.Evicted, n.workloadOf(p.Ranking[p.First[0]].Name))
		}
	}
	return e, nil
}

func (n *node) evictionConfig() (eviction.Config, error) {
	k := n.scenario.Node.Kubelet
	c := eviction.Config{Version: n.config.Version, Hard: k.EvictionHard, Soft: k.EvictionSoft, SoftGracePeriod: map[string]time.Duration{}}
	if c.Hard == nil {
		c.Hard = map[string]string{} // nil would be the kubelet's default
	}
	for signal, text := range k.EvictionSoftGracePeriod {
		d, err := time.ParseDuration(text)
		if err != nil {
			return c, fmt.Errorf("evictionSoftGracePeriod of %s: %w", signal, err)
		}
		c.SoftGracePeriod[signal] = d
	}
	return c, nil
}

// at returns a copy of the node in which every grower has pressed for t.
func (n *node) at(t time.Duration) *node {
	grown := *n
	grown.snapshot.Cgroups = slices.Clone(n.snapshot.Cgroups)
	for _, g := range n.growers {
		l := levelsAt(g.press, t).minus(levelsAt(g.balloon, g.balloon.Duration()))
		grown.charge(g.cgroup, l.charged(), l.mapped+l.cache)
	}
	return &grown
}

// full reports whether a limit is exceeded, page cache aside.
func (n *node) full() bool {
	for _, c := range n.snapshot.Cgroups {
		if limit, bounded := c.Limit.Bytes(); bounded && c.Usage-c.Reclaimable > limit {
			return true
		}
	}
	return false
}

// state is the node as the kubelet sees it. All page cache of a stressor counts
// as active: it has just been read.
func (n *node) state() eviction.State {
	usage := func(path string) eviction.Usage {
		return eviction.Usage{Usage: n.snapshot.Cgroups[n.cgroups[path]].Usage}
	}
	kubepods := n.config.Kubepods()
	s := eviction.State{Node: eviction.Node{
		Capacity: n.config.Capacity, Root: usage("/node"), Kubepods: usage(kubepods),
		KubepodsLimit: n.snapshot.Cgroups[n.cgroups[kubepods]].Limit,
	}}
	for _, p := range n.pods {
		s.Pods = append(s.Pods, eviction.Pod{Pod: p.Pod, WorkingSet: usage(p.cgroup).WorkingSet()})
	}
	return s
}

func (n *node) workloadOf(name string) string {
	for _, p := range n.pods {
		if p.Name == name {
			return p.workload
		}
	}
	return name
}

func parent(cgroup string) string { return path.Dir(cgroup) }
