package eviction

import (
	"errors"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// State is a node at the moment when the kubelet looks at it.
type State struct {
	Node Node  `json:"node"`
	Pods []Pod `json:"pods"`
	// Met are the thresholds that were met when the kubelet looked before: their
	// minimum reclaim counts.
	Met []Threshold `json:"metBefore,omitempty"`
	// MetFor is for how long soft thresholds have been met, if they are.
	MetFor time.Duration `json:"metForNanoseconds,omitempty"`
}

// Outcome says what the kubelet does.
type Outcome string

// The outcomes of a prediction.
const (
	NotMet      Outcome = "not-met"      // enough memory is available
	NoCandidate Outcome = "no-candidate" // nothing runs that may be evicted
	Evicts      Outcome = "evicts"       // one pod goes
	Tie         Outcome = "tie"          // one pod of several equal ones goes
)

// MetThreshold is a threshold that is met and acted on, with its arithmetic:
// Available < Wanted.
type MetThreshold struct {
	Threshold
	Observation
	Wanted mem.Bytes `json:"wantedBytes"`
}

// Prediction is what the kubelet does when it looks at a state.
type Prediction struct {
	Outcome    Outcome        `json:"outcome"`
	Thresholds []MetThreshold `json:"thresholds,omitempty"`
	Ranking    []Ranked       `json:"ranking,omitempty"`
	// First are the places in Ranking of the pod that goes or, in a tie, of
	// all those of which one goes.
	First []int `json:"first,omitempty"`
	// Grace is the time that the pod's containers have between SIGTERM and
	// SIGKILL. Where hard and soft thresholds are met at once the kubelet acts
	// on either; this is the hard one's.
	Grace time.Duration `json:"graceNanoseconds,omitempty"`
}

// Predict says what the kubelet does about the state. It evicts at most one pod
// each time it looks (managerImpl.synchronize).
func (c Config) Predict(s State) (Prediction, error) {
	thresholds, err := c.Thresholds()
	if err != nil {
		return Prediction{}, err
	}
	if s.Node.Capacity <= 0 {
		return Prediction{}, errors.New("eviction: node without capacity: set it to MemTotal of /proc/meminfo")
	}
	p := Prediction{Outcome: NotMet, Ranking: Rank(s.Pods, c.Version)}
	observed := c.observe(s.Node)
	for _, t := range thresholds {
		o, ok := observed[t.Signal]
		wanted := t.wanted(o, slices.Contains(s.Met, t))
		if ok && o.Available < wanted && (!t.Soft || s.MetFor >= t.GracePeriod) {
			p.Thresholds = append(p.Thresholds, MetThreshold{Threshold: t, Observation: o, Wanted: wanted})
		}
	}
	if len(p.Thresholds) == 0 {
		return p, nil
	}
	p.Outcome = NoCandidate
	for i, r := range p.Ranking {
		switch {
		case r.Exempt:
		case len(p.First) == 0:
			p.Outcome, p.First = Evicts, []int{i}
			p.Grace = c.grace(p.Thresholds, s.Pods[r.index])
		case r.Rank == p.Ranking[p.First[0]].Rank:
			p.Outcome, p.First = Tie, append(p.First, i)
		}
	}
	return p, nil
}

// grace returns how long the pod may take to stop.
func (c Config) grace(met []MetThreshold, p Pod) time.Duration {
	hard := slices.ContainsFunc(met, func(t MetThreshold) bool { return !t.Soft })
	switch {
	case hard && c.Version >= 31:
		return time.Second
	case hard:
		return p.GracePeriod // the kubelet asked for 0, which was read as "not set"
	case c.Version >= 32:
		return min(c.MaxPodGracePeriod, p.GracePeriod)
	}
	return c.MaxPodGracePeriod
}

// Sequence predicts one eviction after the other, until enough memory is
// available or nobody is left, if every evicted pod returns its working set
// before the kubelet looks again and nothing else changes. In a tie the first
// pod of the state goes. The last prediction evicts nobody.
func (c Config) Sequence(s State) ([]Prediction, error) {
	var out []Prediction
	for {
		p, err := c.Predict(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
		if len(p.First) == 0 {
			return out, nil
		}
		gone := p.Ranking[p.First[0]].index
		freed := s.Pods[gone].WorkingSet
		s.Node.Root.Usage -= freed
		s.Node.Kubepods.Usage -= freed
		s.Pods = slices.Delete(slices.Clone(s.Pods), gone, gone+1)
		s.Met = p.met()
	}
}

// met returns the thresholds that were met, for the Met of the next State.
func (p Prediction) met() []Threshold {
	var out []Threshold
	for _, t := range p.Thresholds {
		out = append(out, t.Threshold)
	}
	return out
}
