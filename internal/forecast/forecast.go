// Package forecast says what a scenario will do before anything runs: from the
// file alone it plans the node's cgroups and processes, and asks the models whom
// the kernel kills and whom the kubelet evicts. It also finds the expectations
// of the file that the models contradict.
package forecast

import (
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// Options are what a forecast depends on beside the scenario.
type Options struct {
	// Kernel is the one that kills. RAM is the host's memory, which only
	// /proc/PID/oom_score is scaled with, unless the whole machine runs out.
	Kernel  oom.Kernel
	Kubelet qos.Version
	// LowestAdj is the lowest oom_score_adj that the host accepts: -1000, or
	// more where CAP_SYS_RESOURCE is missing.
	LowestAdj int
	// NoKubelet says that nobody restarts what was killed, and that no daemons
	// use the node's memory, as in the labs without a kubelet. By default
	// DaemonsHeld of it are a kind worker's daemons'.
	NoKubelet bool
}

// Forecast is what the models say of a scenario.
type Forecast struct {
	Scenario string `json:"scenario"`
	// Snapshot is the node as planned, right before the pressure.
	Snapshot oom.Snapshot `json:"snapshot"`
	// Owners says whose the planned processes are, by their made-up pids.
	Owners map[int]record.Owner `json:"owners"`
	// Scores is /proc/PID/oom_score of each process, by pid.
	Scores map[int]int `json:"oomScores"`
	// Kernel is whom the kernel kills. It is nil where nobody presses, and where
	// several containers grow at once.
	Kernel *oom.Sequence `json:"kernel,omitempty"`
	// Kubelet is whom the kubelet evicts. It is nil where no threshold is set.
	Kubelet *Eviction `json:"kubelet,omitempty"`
	// Contradictions are expectations of the scenario that can't come true, if
	// the models are right.
	Contradictions []string `json:"contradictions,omitempty"`
	// Doubts are expectations that hang on a tie, on the error of the kernel's
	// counters, or on who is faster.
	Doubts []string `json:"doubts,omitempty"`

	growing int // so many containers grow at once
}

// Predict makes the forecast of a valid scenario.
func Predict(s *scenarios.Scenario, o Options) (*Forecast, error) {
	p, err := newNode(s, o)
	if err != nil {
		return nil, fmt.Errorf("plan the node of %s: %w", s.Metadata.Name, err)
	}
	f := &Forecast{Scenario: s.Metadata.Name, Snapshot: p.snapshot, Owners: p.owners, Scores: map[int]int{}}
	for _, t := range p.snapshot.Tasks {
		f.Scores[t.PID] = o.Kernel.OOMScore(t)
	}
	growing := p.growing()
	if f.growing = len(growing); len(p.growers) > 0 && !f.Race() {
		if f.Kernel, err = p.kills(growing); err != nil {
			return nil, fmt.Errorf("predict the kills of %s: %w", s.Metadata.Name, err)
		}
	}
	if k := s.Node.Kubelet; len(k.EvictionHard) > 0 || len(k.EvictionSoft) > 0 {
		if f.Kubelet, err = p.evictions(); err != nil {
			return nil, fmt.Errorf("predict the evictions of %s: %w", s.Metadata.Name, err)
		}
	}
	f.compare(s)
	return f, nil
}

// restarted is what a restarted balloon holds that stays small.
const restarted = 4 * mem.MiB

// Race reports that several containers grow at once: the model lets one grow.
func (f *Forecast) Race() bool { return f.growing > 1 }

// growing are the growers that take what can't be reclaimed.
func (n *node) growing() []grower {
	return slices.DeleteFunc(slices.Clone(n.growers), func(g grower) bool { return !Grows(g.balloon, g.press) })
}

// kills lets the only one that grows take what is left, as a run does.
func (n *node) kills(growing []grower) (*oom.Sequence, error) {
	if len(growing) == 0 {
		return &oom.Sequence{End: EndReclaimable}, nil
	}
	page, g := n.snapshot.Kernel.PageSize, growing[0]
	pressure := oom.Pressure{Grower: g.pid, Sharers: g.sharers, Kills: n.scenario.Until.Kills}
	pressure = WithPeak(pressure, n.snapshot, g.balloon, g.press)
	if pressure.Kills > 0 && !n.options.NoKubelet {
		pressure.Restart = restarted.Pages(page)
	}
	sequence, err := oom.PredictSequence(n.snapshot, pressure)
	return &sequence, err
}

// EndReclaimable is why nobody is killed by a plan of page cache alone.
const EndReclaimable = "all that is taken can be reclaimed"

// Grows says whether a press plan takes anything that can't be reclaimed, on top
// of what the balloon holds.
func Grows(balloon, press plan.Curve) bool {
	by, _ := growth(balloon, press)
	return by > 0
}

// growth is how much that is, and whether it is mapped by no process.
func growth(balloon, press plan.Curve) (by mem.Bytes, unmapped bool) {
	held := balloon.Levels(balloon.Duration())
	of := func(kinds ...plan.Kind) mem.Bytes {
		by := press.PeakOf(kinds...)
		for _, k := range kinds {
			by -= held[k]
		}
		return by
	}
	mapped, files := of(plan.Anon, plan.THP, plan.Mlock, plan.Cold, plan.Shm), of(plan.Tmpfs, plan.Memfd)
	return max(mapped, files), files > mapped
}

// WithPeak returns p with the peak that the press plan takes its growers to,
// which in s hold the balloon: what they map there and what the plan adds of
// what can't be reclaimed. If that is nothing, Peak is 0.
func WithPeak(p oom.Pressure, s oom.Snapshot, balloon, press plan.Curve) oom.Pressure {
	most, unmapped := growth(balloon, press)
	if most == 0 {
		return p
	}
	p.Unmapped = unmapped
	p.Peak = most.Pages(s.Kernel.PageSize)
	for _, t := range s.Tasks {
		if t.PID == p.Grower || slices.Contains(p.Sharers, t.PID) {
			p.Peak += t.RSS()
		}
	}
	return p
}
