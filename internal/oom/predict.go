package oom

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
)

// Predict says whom the kernel kills when d runs out of memory, as
// out_of_memory() decides. The trigger is the pid of the process whose
// allocation failed, 0 if unknown; it matters only with
// vm.oom_kill_allocating_task and when it is itself dying.
//
// Predict fails on a snapshot that Validate refuses and on a domain that can't
// run out of memory (ErrDomain).
func Predict(s Snapshot, d Domain, trigger int) (Prediction, error) {
	if err := s.Validate(); err != nil {
		return Prediction{}, err
	}
	total, err := s.TotalPages(d)
	if err != nil {
		return Prediction{}, err
	}
	o := oom{Snapshot: s, domain: d, tree: newTree(s.Cgroups)}
	o.tasks = o.walk()
	p := Prediction{Domain: d, TotalPages: total, Caveats: s.caveats()}
	dying := o.evaluate(&p)
	o.decide(&p, trigger, dying)
	if p.Victim != 0 {
		p.Group = o.group(p.Victim)
		p.Kills = []int{p.Victim}
		if p.Group != nil {
			p.Kills = p.Group.PIDs
		}
	}
	return p, nil
}

// oom is one event: a domain of a snapshot that ran out of memory.
type oom struct {
	Snapshot
	domain Domain
	tree   tree
	tasks  []int // indices of the domain's tasks in the order of the kernel's walk
}

// walk returns the tasks of the domain in the order in which the kernel
// evaluates them: all tasks as they were created (for_each_process), or
// those of a memory cgroup, then those of its descendants in pre-order
// (mem_cgroup_scan_tasks).
func (o oom) walk() []int {
	byCgroup := o.domain.Constraint == ConstraintMemcg && !o.FromReport
	byRank := make([][]int, max(1, len(o.Cgroups))) // mutate: more ranks stay empty
	for i := range o.Tasks {
		rank := 0
		if byCgroup {
			t := &o.Tasks[i]
			if !isWithin(t.Cgroup, o.domain.Path) {
				continue
			}
			rank = o.tree.rank[o.tree.nearest(t.Cgroup)]
		}
		byRank[rank] = append(byRank[rank], i)
	}
	tasks := make([]int, 0, len(o.Tasks))
	for _, siblings := range byRank {
		slices.SortFunc(siblings, func(a, b int) int {
			s, t := &o.Tasks[a], &o.Tasks[b]
			return cmp.Or(cmp.Compare(s.Order, t.Order), cmp.Compare(s.PID, t.PID))
		})
		tasks = append(tasks, siblings...)
	}
	return tasks
}

// evaluate fills in p's candidates, ranked, and the excluded tasks. It returns
// the pids of earlier victims that are still dying. It follows
// oom_evaluate_task(), and select_bad_process() in that a later task of equal
// points displaces an earlier one.
func (o oom) evaluate(p *Prediction) (dying []int) {
	type place struct {
		points       mem.Pages
		walked, task int
	}
	places := make([]place, 0, len(o.tasks))
	for walked, i := range o.tasks {
		t := &o.Tasks[i]
		reason := o.exclude(t)
		if reason == "" {
			c := o.candidate(t, p.TotalPages.Pages)
			places = append(places, place{c.Points, walked, i})
			continue
		}
		p.Excluded = append(p.Excluded, Excluded{PID: t.PID, Name: t.Name, Reason: reason})
		if reason == stillDying {
			dying = append(dying, t.PID)
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.points != b.points {
			return cmp.Compare(b.points, a.points)
		}
		return cmp.Compare(b.walked, a.walked)
	})
	p.Candidates = make([]Candidate, len(places))
	for i, at := range places {
		p.Candidates[i] = o.candidate(&o.Tasks[at.task], p.TotalPages.Pages)
	}
	return dying
}

const stillDying = "an earlier victim, still dying"

// exclude gives the reason why t can't be chosen, or "".
func (o oom) exclude(t *Task) string {
	switch reason := t.unkillable(); {
	case t.GlobalInit || t.Kthread:
		return reason
	case !o.reaches(t):
		return "confined to other memory nodes"
	case t.Victim && t.OOMSkip:
		return "an earlier victim, already reaped"
	case t.Victim:
		return stillDying
	case t.Origin:
		return ""
	default:
		return reason
	}
}

// reaches reports whether killing t may free memory that the allocation can
// use: oom_cpuset_eligible(). A memory cgroup does not ask.
func (o oom) reaches(t *Task) bool {
	if o.domain.Constraint == ConstraintMemcg || len(o.domain.Nodes) == 0 || len(t.Nodes) == 0 {
		return true
	}
	return slices.ContainsFunc(t.Nodes, func(n int) bool { return slices.Contains(o.domain.Nodes, n) })
}

// decide sets the outcome, in the order of the checks of out_of_memory().
func (o oom) decide(p *Prediction, trigger int, dying []int) {
	allocating := o.find(trigger)
	memcg := o.domain.Constraint == ConstraintMemcg
	switch {
	case allocating != nil && allocating.Victim:
		p.Outcome, p.Reason = OutcomeAborted, "the allocating process is itself dying and may use the reserves"
	case o.Kernel.PanicOnOOM == 2, o.Kernel.PanicOnOOM == 1 && o.domain.Constraint == ConstraintNone:
		p.Outcome, p.Reason = OutcomePanic, fmt.Sprintf("vm.panic_on_oom is %d", o.Kernel.PanicOnOOM)
	case !memcg && o.Kernel.KillAllocatingTask && allocating == nil:
		p.Outcome, p.Reason = OutcomeUndetermined, "vm.oom_kill_allocating_task is set and the allocating process is not known"
	case !memcg && o.Kernel.KillAllocatingTask && o.mayKillAllocating(allocating):
		p.Outcome, p.Reason = OutcomeKillAllocating, "vm.oom_kill_allocating_task is set"
		p.Victim = trigger
	case len(dying) > 0:
		p.Outcome, p.Reason = OutcomeAborted, fmt.Sprintf("pid %d, an earlier victim, is still dying", dying[0])
	case len(p.Candidates) == 0 && memcg:
		p.Outcome, p.Reason = OutcomeNone, "no process of the cgroup may be killed"
	case len(p.Candidates) == 0:
		p.Outcome, p.Reason = OutcomePanic, "no process may be killed"
	default:
		p.choose()
	}
}

// mayKillAllocating is the condition of vm.oom_kill_allocating_task. Unlike
// the choice by badness it does not spare a task in vfork or already reaped.
func (o oom) mayKillAllocating(t *Task) bool {
	return !t.NoMM && !t.GlobalInit && !t.Kthread && o.reaches(t) && t.OOMScoreAdj != OOMScoreAdjMin
}

// choose takes the first of the ranked candidates as the victim and says how
// sure that is.
func (p *Prediction) choose() {
	victim := p.Candidates[0]
	p.Victim = victim.PID
	p.Outcome, p.Reason = OutcomeVictim, "the most points"
	if len(p.Candidates) == 1 {
		p.Reason = "the only candidate"
		return
	}
	second := p.Candidates[1]
	p.Margin = lead(victim.Points, second.Points)
	p.CounterError = lead(victim.Points, victim.Low) + lead(second.High, second.Points)
	for _, c := range p.Candidates[1:] {
		switch {
		case c.High < victim.Low:
			continue
		case c.Low == c.High && victim.Low == victim.High:
			if p.Outcome != OutcomeUndetermined {
				p.Outcome, p.Reason = OutcomeTie, "equal points: the last one walked is killed"
			}
		default:
			p.Outcome, p.Reason = OutcomeUndetermined, "the lead is within the error of the kernel's counters"
		}
		p.Rivals = append(p.Rivals, c.PID)
	}
}

// lead returns a-b for a >= b, and the largest number of pages where that
// overflows: the points of an Origin are LONG_MAX.
func lead(a, b mem.Pages) mem.Pages {
	if d := a - b; d >= 0 {
		return d
	}
	return math.MaxInt64
}

// group returns the memory cgroup that is killed together with the victim:
// the highest with memory.oom.group from the victim's up to the domain's, or
// up to the root (mem_cgroup_get_oom_group). nil if there is none.
func (o oom) group(victim int) *Group {
	if o.Kernel.CgroupVersion != 2 || o.FromReport {
		return nil
	}
	highest := none
	for i := range o.tree.ancestors(o.tree.nearest(o.find(victim).Cgroup)) {
		if o.Cgroups[i].OOMGroup {
			highest = i
		}
		if o.domain.Constraint == ConstraintMemcg && o.Cgroups[i].Path == o.domain.Path {
			break
		}
	}
	if highest == none {
		return nil
	}
	g := &Group{Path: o.Cgroups[highest].Path, PIDs: []int{victim}}
	for _, i := range o.tasks { // oom_kill_memcg_member()
		t := &o.Tasks[i]
		spared := t.OOMScoreAdj == OOMScoreAdjMin || t.GlobalInit || t.Kthread || t.NoMM
		if t.PID != victim && !spared && isWithin(t.Cgroup, g.Path) {
			g.PIDs = append(g.PIDs, t.PID)
		}
	}
	return g
}
