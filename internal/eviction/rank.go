package eviction

import (
	"cmp"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

// Pod is a running pod and the memory that it holds.
type Pod struct {
	qos.Pod
	// WorkingSet is that of the pod's cgroup: all containers, the pause
	// container, tmpfs volumes and page cache in use.
	WorkingSet mem.Bytes `json:"workingSetBytes"`
	// NoStats says that the kubelet has no statistics of the pod (yet).
	NoStats bool `json:"noStats,omitempty"`
	// GracePeriod is terminationGracePeriodSeconds.
	GracePeriod time.Duration `json:"gracePeriodNanoseconds,omitempty"`
}

// Step is one of the kubelet's comparisons, in the order in which it makes them.
type Step string

// The steps of rankMemoryPressure. Tie means that none of them tells two pods
// apart: the kubelet's sort is unstable and its input comes from a map.
const (
	StepNoStats  Step = "no-stats"
	StepExceeds  Step = "exceeds-request"
	StepPriority Step = "lower-priority"
	StepExcess   Step = "larger-excess"
	StepTie      Step = "tie"
)

// Ranked is a pod with every number that decided its place.
type Ranked struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Rank counts from 1; pods in a tie share one.
	Rank       int       `json:"rank"`
	NoStats    bool      `json:"noStats,omitempty"`
	WorkingSet mem.Bytes `json:"workingSetBytes"`
	Request    mem.Bytes `json:"requestBytes"`
	// Excess is WorkingSet - Request, negative below the request.
	Excess   mem.Bytes `json:"excessBytes"`
	Exceeds  bool      `json:"exceedsRequest"`
	Priority int32     `json:"priority"`
	// Exempt pods keep their rank but are passed over: static, mirror, or of a
	// priority from 2,000,000,000.
	Exempt bool `json:"exempt,omitempty"`
	// AheadBy is the step that puts the pod ahead of the next one; empty for
	// the last.
	AheadBy Step `json:"aheadBy,omitempty"`

	index int // in the slice that was ranked
}

// Rank sorts pods by the kubelet's rankMemoryPressure, first to go first. QoS
// classes and oom_score_adj have no say.
func Rank(pods []Pod, v qos.Version) []Ranked {
	ranking := make([]Ranked, len(pods))
	for i, p := range pods {
		r := Ranked{
			Namespace: p.Namespace, Name: p.Name, index: i,
			NoStats: p.NoStats, Request: p.EvictionRequest(v),
			Priority: p.Priority, Exempt: p.IsCritical(),
		}
		if !p.NoStats {
			r.WorkingSet = p.WorkingSet
			r.Excess = r.WorkingSet - r.Request
			r.Exceeds = r.Excess > 0
		}
		ranking[i] = r
	}
	slices.SortStableFunc(ranking, func(a, b Ranked) int {
		order, _ := compare(a, b)
		return order
	})
	for i := range ranking {
		ranking[i].Rank = i + 1
		if i == 0 {
			continue
		}
		before := &ranking[i-1]
		_, before.AheadBy = compare(*before, ranking[i])
		if before.AheadBy == StepTie {
			ranking[i].Rank = before.Rank
		}
	}
	return ranking
}

// compare returns the order of two pods and the step that decided it. Without
// statistics of one of them the steps about usage decide nothing further.
func compare(a, b Ranked) (int, Step) {
	switch {
	case a.NoStats != b.NoStats:
		return first(a.NoStats), StepNoStats
	case !a.NoStats && a.Exceeds != b.Exceeds:
		return first(a.Exceeds), StepExceeds
	case a.Priority != b.Priority:
		return cmp.Compare(a.Priority, b.Priority), StepPriority
	case !a.NoStats && a.Excess != b.Excess:
		return cmp.Compare(b.Excess, a.Excess), StepExcess
	}
	return 0, StepTie
}

func first(yes bool) int {
	if yes {
		return -1
	}
	return 1
}
