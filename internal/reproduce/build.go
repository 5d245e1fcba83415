package reproduce

import (
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// What a stressor holds and costs beside its balloon (docs/stressor.md).
const (
	// own is its rss and page tables while it holds nothing.
	own = 2200 * mem.KiB
	// floor is the smallest process that a stressor can play.
	floor = 3 * mem.MiB
	// uncharged is what of its rss its cgroup does not pay for, less what it
	// pays for beside the rss: file pages belong to whoever read them first.
	uncharged = 1 * mem.MiB
	// speck is how much memory of nobody is not worth a process.
	speck = 6 * mem.MiB
	// spare is what is left around the domain, so that it runs out first.
	spare = 64 * mem.MiB
)

// balloonFor returns the balloon of a process that is to hold target: page
// tables take 8 bytes a page.
func balloonFor(target mem.Bytes) mem.Bytes {
	return max(0, target-own) * 512 / 513 / (4 * mem.KiB) * (4 * mem.KiB)
}

// scales are the scales to try, first the one that is wanted most.
func (c *casting) scales() []float64 {
	scales := []float64{1}
	for factor := 2.0; factor <= 1024; factor *= 2 {
		if c.nodeSize(c.total) > c.o.Room {
			scales = append(scales, 1/factor)
		} else if factor <= 32 {
			scales = append(scales, factor)
		}
	}
	return scales
}

// nodeSize is the node in which limit runs out.
func (c *casting) nodeSize(limit mem.Bytes) mem.Bytes {
	switch c.domain() {
	case qos.LevelContainer, qos.LevelPod:
		return roundUp(limit+limit/4, mem.MiB) + spare + scenarios.DefaultReserved
	case qos.LevelKubepods:
		return limit + scenarios.DefaultReserved
	case qos.LevelGlobal:
		return limit + forecast.MachineReserved
	}
	return limit
}

// domain is the level in the scenario: a machine can't run out everywhere.
func (c *casting) domain() qos.Level {
	switch {
	case c.level == qos.LevelGlobal && !c.o.WholeMachine:
		return qos.LevelNode
	case c.level == qos.LevelClass:
		return qos.LevelKubepods
	}
	return c.level
}

// attempt makes the scenario at a scale, and sees that it has the same answer.
func (c *casting) attempt(scale float64) (*Attempt, error) {
	a := &Attempt{
		Scale: scale, Constraint: c.e.RanOut.Constraint, Level: c.level, Margin: c.margin,
		LeftOut: c.out, Notes: slices.Clone(c.notes), lowestAdj: c.o.LowestAdj, lowestAdjProof: c.o.LowestAdjProof,
	}
	a.Limit = mem.Bytes(float64(c.total)*scale) / (4 * mem.KiB) * (4 * mem.KiB)
	if scale != 1 && a.Limit > spare {
		a.Limit = a.Limit / mem.MiB * mem.MiB
	}
	node := c.nodeSize(a.Limit)
	if node > c.o.Room {
		return nil, fmt.Errorf("%w: the node would take %s, and the machine has room for %s", ErrScale, node.Human(), c.o.Room.Human())
	}
	if node < 512*mem.MiB {
		return nil, fmt.Errorf("%w: a node has at least 512Mi", ErrScale)
	}
	switch {
	case c.domain() == qos.LevelGlobal:
		a.daemons = forecast.MachineHeld
	case c.domain() == qos.LevelNode && c.o.Pods:
		a.daemons = forecast.DaemonsHeld
	}
	if err := a.size(c.cast, c.group); err != nil {
		return nil, err
	}
	b := builder{casting: c, Attempt: a, capacity: node}
	b.build()
	if err := b.check(); err != nil {
		return nil, err
	}
	a.GroupKill = 0
	for _, r := range a.Roles {
		if slices.Contains(c.group, r.PID) {
			a.GroupKill++
		}
	}
	a.noteDifferences(c)
	return a, nil
}

// size gives every role its target, and leaves out who is too small, or too
// many: memory that several processes map counts in each of them, and in the
// scenario each has its own.
func (a *Attempt) size(cast []Role, group []int) error {
	keep := func(r Role) bool { return r.Victim || r.Trigger || slices.Contains(group, r.PID) }
	for _, r := range cast {
		r.Target = mem.Bytes(float64(r.Held) * a.Scale)
		if r.Target < floor && !keep(r) {
			a.LeftOut++
			continue
		}
		if r.Target < floor && r.Victim {
			return fmt.Errorf("%w: the victim would hold %s, and a stressor holds at least %s", ErrScale, r.Target.Human(), floor)
		}
		if r.Target < floor && !r.StandIn {
			a.Notes = append(a.Notes, fmt.Sprintf("%s held %s, which is %s here: a stressor holds at least %s", r, r.Held.Human(), r.Target.Human(), floor))
		}
		r.Target = max(r.Target, floor)
		a.Roles = append(a.Roles, r)
	}
	return a.fit(keep)
}

// fit makes the roles fit in what runs out. They held more where memory counts
// in several of them, or is charged to another cgroup: pages of a program's
// file belong to whoever read them first. The trigger gets what is left, if
// that is not much less; else who is last in the ranking is left out.
func (a *Attempt) fit(keep func(Role) bool) error {
	t := &a.Roles[slices.IndexFunc(a.Roles, func(r Role) bool { return r.Trigger })]
	for a.Rest = a.rest(); a.Rest < -t.Target/10; a.Rest = a.rest() {
		last := len(a.Roles) - 1
		for last >= 0 && keep(a.Roles[last]) {
			last--
		}
		if last < 0 {
			break
		}
		a.Notes = append(a.Notes, fmt.Sprintf("%s is left out: the processes hold more together than ran out, as they share memory", a.Roles[last]))
		a.Roles = slices.Delete(a.Roles, last, last+1)
		a.LeftOut++
		t = &a.Roles[slices.IndexFunc(a.Roles, func(r Role) bool { return r.Trigger })]
	}
	if a.Rest < 0 {
		if t.Target+a.Rest < floor {
			return fmt.Errorf("%w: its processes hold %s more than ran out, as they share memory, which a stressor does not", ErrUnsupported, (-a.Rest).Human())
		}
		a.Notes = append(a.Notes, fmt.Sprintf("%s ends %s smaller than in the report, where not all of its memory was charged to what ran out", *t, (-a.Rest).Human()))
		t.Target, a.Rest = t.Target+a.Rest, 0
	}
	if a.Rest < speck {
		a.Rest = 0
	}
	return nil
}

// rest is what is charged to nobody that plays.
func (a *Attempt) rest() mem.Bytes {
	rest := a.Limit - a.daemons
	for _, r := range a.Roles {
		rest -= r.Target - uncharged
	}
	return rest
}

func roundUp(b, unit mem.Bytes) mem.Bytes { return (b + unit - 1) / unit * unit }
