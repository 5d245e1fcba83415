// Package reproduce turns an OOM report into a scenario that does the same, and
// says of a run whether it did: the same constraint, domain, victim, trigger
// and order, with scores that follow from what a kubelet would have given.
//
// A report says whom the kernel could choose from and with how much memory, and
// little about the pods that they were. What it leaves open is chosen so that
// the kernel's arithmetic stays the same, and said in Attempt.Notes.
package reproduce

import (
	"errors"
	"fmt"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// Options say what the lab can do.
type Options struct {
	// Name is the scenario's; it has to be a DNS label.
	Name string
	// Source says in words where the report comes from.
	Source string
	// Scale multiplies every size. 0: the first of 1, 1/2, 1/4 … that fits in
	// Room, or of 2, 4, 8 where processes are too small for a stressor.
	Scale float64
	// Room is the largest node that the machine can hold.
	Room mem.Bytes
	// Kernel is the lab's, Kubelet the one that gives the scores.
	Kernel  oom.Kernel
	Kubelet qos.Version
	// LowestAdj is the lowest oom_score_adj that can be given, LowestAdjProof
	// how that was probed.
	LowestAdj      int
	LowestAdjProof string
	// Pods says that the lab makes real pods: they have no score but the
	// kubelet's, and their requests have to fit.
	Pods bool
	// WholeMachine says that in this lab the whole machine may run out.
	WholeMachine bool
}

// Attempt is a scenario made from a report.
type Attempt struct {
	Scenario *scenarios.Scenario `json:"scenario"`
	// Scale is what every size of the report was multiplied by.
	Scale float64 `json:"scale"`
	// Constraint and Level are what ran out, by the report.
	Constraint oomreport.Constraint `json:"constraint"`
	Level      qos.Level            `json:"level"`
	// Limit is the size of what runs out in the scenario.
	Limit mem.Bytes `json:"limitBytes"`
	// Roles are the processes of the report that the scenario plays, most
	// points first.
	Roles []Role `json:"roles"`
	// LeftOut counts the processes that it does not play.
	LeftOut int `json:"processesLeftOut,omitempty"`
	// Rest is memory of no process, or of one that is left out.
	Rest mem.Bytes `json:"restBytes,omitempty"`
	// Margin is how far the victim is ahead of the next that is no twin of it,
	// in the report, as a share of what ran out.
	Margin float64 `json:"margin"`
	// GroupKill is how many of the roles died together (memory.oom.group); 0:
	// there was no group kill.
	GroupKill int `json:"groupKill,omitempty"`
	// Notes say what was assumed, or could not be done alike.
	Notes []string `json:"notes,omitempty"`

	daemons        mem.Bytes // what the node's own processes use
	lowestAdj      int
	lowestAdjProof string
}

// Role is a process of the report and its part in the scenario.
type Role struct {
	oomreport.Process
	// Held is what badness counted without the score, in the report; Target is
	// the same in the scenario.
	Held   mem.Bytes `json:"heldBytes"`
	Target mem.Bytes `json:"targetBytes"`
	// Share is the points in the report, as a share of what ran out.
	Share       float64 `json:"pointsShare"`
	OOMScoreAdj int     `json:"oomScoreAdj"`
	// Class is the QoS class that the score follows from in the scenario; empty
	// where no class gives it, so that the scenario sets it.
	Class qos.Class `json:"qosClass,omitempty"`
	// Victim, Trigger: what it was in the report. Twin: it equals the victim in
	// name, score and size, so that nothing in the report tells them apart.
	Victim  bool `json:"victim,omitempty"`
	Trigger bool `json:"trigger,omitempty"`
	Twin    bool `json:"twinOfVictim,omitempty"`
	// StandIn: no process of the table, but one that presses in place of a
	// trigger that the table lacks.
	StandIn bool `json:"standIn,omitempty"`

	Workload  string `json:"workload"`
	Container string `json:"container"`
	// Index counts the container's processes from 0.
	Index int `json:"index"`
}

// String names the role as the report does.
func (r Role) String() string {
	if r.StandIn {
		return "a stand-in for " + r.Name
	}
	return r.Process.String()
}

// Errors of New. Each is wrapped with what exactly is in the way.
var (
	// ErrIncomplete: the report lacks what a scenario has to be made of.
	ErrIncomplete = errors.New("the report is not enough for a scenario")
	// ErrScale: at this scale the scenario would have another outcome.
	ErrScale = errors.New("scaling would change the answer")
	// ErrUnsupported: the lab can't do what the report needs.
	ErrUnsupported = errors.New("this lab can't reproduce it")
)

// New makes a scenario from a report and what it means.
func New(r *oomreport.Report, e *explain.Explanation, o Options) (*Attempt, error) {
	c, err := newCasting(r, e, o)
	if err != nil {
		return nil, err
	}
	scales := []float64{o.Scale}
	if o.Scale == 0 {
		scales = c.scales()
	}
	var first error
	for _, scale := range scales {
		a, err := c.attempt(scale)
		if err == nil {
			return a, nil
		}
		if err = fmt.Errorf("at scale %s: %w", ScaleText(scale), err); !errors.Is(err, ErrScale) {
			return nil, err
		}
		if first == nil {
			first = err
		} else if scale == scales[len(scales)-1] {
			return nil, fmt.Errorf("%w\n%w; nor at a scale between", first, err)
		}
	}
	return nil, first
}

// ScaleText writes a scale as people do: 1/8, 4.
func ScaleText(scale float64) string {
	if scale > 0 && scale < 1 && 1/scale == float64(int(1/scale)) {
		return fmt.Sprintf("1/%d", int(1/scale))
	}
	return fmt.Sprintf("%g", scale)
}

// Place says in words what ran out.
func Place(level qos.Level) string {
	switch level {
	case qos.LevelGlobal:
		return "the whole machine"
	case qos.LevelNode:
		return "a node's own cgroup"
	case qos.LevelKubepods:
		return "what a node gives to pods"
	case qos.LevelClass:
		return "the cgroup of a QoS class"
	}
	return "a " + string(level)
}
