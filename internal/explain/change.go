package explain

import (
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
)

// Change is something that would have changed the outcome. The model has
// computed the outcome with it.
type Change struct {
	// What is the change in words, with its number.
	What string `json:"what"`
	// Outcome is what the model says happens then.
	Outcome string `json:"outcome"`
	// Victim is who dies then, by the model; 0: nobody.
	Victim int `json:"victim,omitempty"`
}

const maxChanges = 3

// change fills in what would have changed the outcome. It trusts the model only
// where the model agrees with what the kernel did.
func (c *inquiry) change(e *Explanation) {
	if e.Agreement != Agrees && e.Agreement != Tie {
		e.NoChanges = "the model does not reproduce the kernel's choice here, so that it can't say what would have changed it"
		if e.Agreement == NotJudged {
			e.NoChanges = "the choice can't be computed from this log, nor what would have changed it"
		}
	}
	if e.NoChanges == "" && e.Victim != nil && c.total.Known {
		a := adviser{inquiry: c, e: e, base: c.rank(c.tasks, c.total.Pages, c.ruleOf(e))}
		for _, idea := range []func() (Change, bool){
			a.newerKernel, a.noGroup, a.request, a.limitOther, a.smaller, a.tmpfs, a.higherLimit,
		} {
			if change, ok := idea(); ok && len(e.Changes) < maxChanges {
				e.Changes = append(e.Changes, change)
			}
		}
		if len(e.Changes) == 0 {
			e.NoChanges = "no change of a score, a size or a limit changes the outcome, by the model"
		}
	} else if e.NoChanges == "" {
		e.NoChanges = "the log lacks what such a computation needs"
	}
}

// ruleOf is the version by whose rules the ranking was made.
func (c *inquiry) ruleOf(e *Explanation) oom.Version {
	if e.Agreement == Tie && c.rank(c.tasks, c.atTotal(e.Victim.Row), c.version).place(e.Victim.Row) != 1 {
		return raised
	}
	return c.version
}

// adviser looks for changes of one outcome.
type adviser struct {
	*inquiry
	e    *Explanation
	base ranked
}

func (a adviser) victim() *oom.Candidate { return a.base.find(a.e.Victim.Row) }

// isTwin says that a process probably is in the victim's container: what is
// changed there changes both. The report does not say who is where, but the
// processes of a container have one score, and workers one name.
func (a adviser) isTwin(c oom.Candidate) bool {
	v := a.victim()
	return c.PID != v.PID && c.Name == v.Name && c.OOMScoreAdj == v.OOMScoreAdj
}

// rival is the first process behind the victim that is no twin of it.
func (a adviser) rival() *oom.Candidate {
	for i := range a.base.Candidates {
		if c := &a.base.Candidates[i]; c.PID != a.e.Victim.Row && !a.isTwin(*c) {
			return c
		}
	}
	return nil
}

// confirm says what happens in the changed table.
func (a adviser) confirm(tasks []oom.Task, version oom.Version) (Change, bool) {
	p := a.rank(tasks, a.total.Pages, version)
	if p.Victim == 0 || p.Victim == a.e.Victim.Row || p.Outcome == oom.OutcomeTie {
		return Change{}, false
	}
	return Change{Victim: p.Victim, Outcome: nameOf(p.Candidates[0]) + " dies" + a.ahead(p)}, true
}

// onePod says that all processes of the domain are of one pod or container, so
// that a request moves them all alike.
func (a adviser) onePod() bool {
	if a.constraint != oomreport.ConstraintMemcg {
		return false
	}
	p := a.e.RanOut.Place
	if p == nil {
		return true // not known: don't claim it
	}
	switch p.Level {
	case string(qos.LevelKubepods), string(qos.LevelClass), string(qos.LevelNode), "slice", "":
		return p.Path != "/" && p.Level == "" && a.sameScores()
	}
	return true
}

func (a adviser) sameScores() bool {
	first := a.base.Candidates[0].OOMScoreAdj
	return !slices.ContainsFunc(a.base.Candidates, func(c oom.Candidate) bool { return c.OOMScoreAdj != first })
}

// request: a lower score of the victim puts it behind its rival. A Burstable
// container gets it by a larger request.
func (a adviser) request() (Change, bool) {
	v, u, share := a.victim(), a.rival(), a.total.Pages/1000
	if u == nil || share == 0 || a.onePod() {
		return Change{}, false
	}
	room := u.Points - 1 - held(*v) // what the score may add
	adj := room / share
	if room < 0 && room%share != 0 {
		adj-- // rounded down, not towards zero
	}
	adj = min(adj, mem.Pages(v.OOMScoreAdj)-1)
	if adj <= oom.OOMScoreAdjMin {
		return Change{}, false
	}
	given, what := a.scoreFor(*v, int(adj))
	tasks := slices.Clone(a.tasks)
	for i, t := range tasks {
		if t.PID == v.PID || a.isTwin(oom.Candidate{PID: t.PID, Name: t.Name, OOMScoreAdj: t.OOMScoreAdj}) {
			tasks[i].OOMScoreAdj = given
		}
	}
	change, ok := a.confirm(tasks, a.ruleOf(a.e))
	change.What = fmt.Sprintf("%s puts it behind %s", what, nameOf(*u))
	return change, ok
}

// scoreFor returns the score, adj or lower, that a process can be given, and
// what gives it: to a container of a pod its request, or its class.
func (a adviser) scoreFor(v oom.Candidate, adj int) (given int, what string) {
	_, inPod := qos.ClassOfScore(v.OOMScoreAdj)
	switch {
	case !inPod || !a.kubernetes() || adj < qos.GuaranteedScore:
		return adj, fmt.Sprintf("oom_score_adj ≤ %d for %s", adj, nameOf(v))
	case adj < qos.BurstableScoreMin:
		return qos.GuaranteedScore, fmt.Sprintf("class Guaranteed (oom_score_adj %d) for %s, as no request of a Burstable pod is enough,", qos.GuaranteedScore, nameOf(v))
	}
	// adj = 1000 - 1000*request/capacity (qos.OOMScoreAdj)
	part := mem.Bytes(qos.BestEffortScore - adj)
	capacity := a.capacity()
	if capacity <= 0 || capacity > 1<<53 {
		return adj, fmt.Sprintf("request ≥ %.1f%% of the node's memory for %s (oom_score_adj ≤ %d)", float64(part)/10, nameOf(v), adj)
	}
	request := roundUp(roundUp(part*capacity, 1000)/1000, mem.MiB)
	return adj, fmt.Sprintf("request ≥ %s of memory for %s (oom_score_adj ≤ %d on a node of %s)", request, nameOf(v), adj, capacity.Human())
}

func roundUp(b, unit mem.Bytes) mem.Bytes { return (b + unit - 1) / unit * unit }

// capacity is the node's memory as its kubelet sees it, 0 where it is not
// known: of the victim's pod's node, of the host that the log names, or of the
// only node there is. Where the whole machine ran out it is the machine's RAM.
func (c *inquiry) capacity() mem.Bytes {
	if c.context.Capacity > 0 {
		return c.context.Capacity
	}
	nodes := c.context.Capacities
	if pod := podAt(c.victimMemcg(), c.context.Pods); pod != nil && nodes[pod.Node] > 0 {
		return nodes[pod.Node]
	}
	if at := nodes[c.report.At.Host]; at > 0 {
		return at
	}
	if len(nodes) == 1 {
		for _, only := range nodes {
			return only
		}
	}
	if m := c.report.Machine; c.constraint == oomreport.ConstraintNone && m != nil && m.RAM != nil && m.Reserved != nil {
		return (*m.RAM - *m.Reserved).Bytes(c.page)
	}
	return 0
}

// smaller: the victim with less memory is not the first any more.
func (a adviser) smaller() (Change, bool) {
	v, u := a.victim(), a.rival()
	if u == nil {
		return Change{}, false
	}
	less := v.Points - u.Points + 1
	if less >= held(*v) || less <= 0 {
		return Change{}, false
	}
	tasks := slices.Clone(a.tasks)
	for i := range tasks {
		t := &tasks[i]
		if t.PID != v.PID && !a.isTwin(oom.Candidate{PID: t.PID, Name: t.Name, OOMScoreAdj: t.OOMScoreAdj}) {
			continue
		}
		for _, amount := range []*mem.Pages{&t.UnsplitRSS, &t.Anon, &t.Swap, &t.File, &t.Shmem} {
			over := t.RSS() + t.Swap + t.PageTables.Pages(a.page) - (held(*v) - less)
			*amount -= min(*amount, max(over, 0))
		}
	}
	change, ok := a.confirm(tasks, a.ruleOf(a.e))
	if !ok {
		return Change{}, false
	}
	change.What = fmt.Sprintf("%s less in %s (it held %s) puts it behind %s", a.human(less), nameOf(*v), a.human(held(*v)), nameOf(*u))
	return change, true
}

// limitOther: a limit on the largest other process lets that one die alone,
// before the domain is full.
func (a adviser) limitOther() (Change, bool) {
	if a.onePod() || a.e.GroupKill != nil {
		return Change{}, false
	}
	v := a.victim()
	var other *oom.Candidate
	for i := range a.base.Candidates {
		c := &a.base.Candidates[i]
		if c.PID != v.PID && !a.isTwin(*c) && (other == nil || held(*c) > held(*other)) {
			other = c
		}
	}
	if other == nil || held(*other) <= held(*v) {
		return Change{}, false // it would take the largest one, which is the victim
	}
	limit := held(*other).Bytes(a.page) / mem.MiB * mem.MiB
	if limit == 0 {
		return Change{}, false
	}
	own := oom.Cgroup{Path: "/domain/own", Limit: mem.LimitOf(limit), Usage: limit}
	s := a.snapshot(nil, a.total.Pages, a.version)
	s.Cgroups = []oom.Cgroup{{Path: "/domain", Limit: mem.LimitOf(a.total.Pages.Bytes(a.page))}, own}
	domain, full := s.FirstOverLimit(own.Path, 1)
	if !full || domain.Path != own.Path {
		return Change{}, false
	}
	what := "service or cgroup"
	if a.kubernetes() {
		what = "container"
	}
	return Change{
		What:    fmt.Sprintf("a memory limit ≤ %s on the %s of %s, the largest process", limit.Human(), what, nameOf(*other)),
		Outcome: fmt.Sprintf("that %s runs out first, alone: %s dies, and not %s", what, nameOf(*other), nameOf(*v)), Victim: other.PID,
	}, true
}

// held is what badness counts without the score.
func held(c oom.Candidate) mem.Pages { return Row{Candidate: c}.Held() }

// noGroup: without memory.oom.group one process dies.
func (a adviser) noGroup() (Change, bool) {
	if a.e.GroupKill == nil || len(a.e.Killed) < 2 || !a.groupMatters() {
		return Change{}, false
	}
	return Change{
		What:    "singleProcessOOMKill: true in the kubelet's configuration (1.32 and later), which leaves memory.oom.group off",
		Outcome: fmt.Sprintf("only %s dies, not all %d processes of the container", nameOf(*a.victim()), len(a.e.Killed)), Victim: a.e.Victim.Row,
	}, true
}

// groupMatters asks the model who dies with the flag and without it.
func (a adviser) groupMatters() bool {
	const domain, group = "/domain", "/domain/group"
	tasks := slices.Clone(a.tasks)
	for i, t := range tasks {
		tasks[i].Cgroup = domain
		if slices.ContainsFunc(a.e.Killed, func(k Killed) bool { return k.PID == t.PID }) || t.PID == a.e.Victim.Row {
			tasks[i].Cgroup = group
		}
	}
	dead := func(flag bool) []int {
		s := a.snapshot(tasks, a.total.Pages, oom.Version{Major: 7})
		s.FromReport, s.Kernel.CPUs = false, 1 // 7.0 and newer read exact counters
		s.Cgroups = []oom.Cgroup{
			{Path: domain, Limit: mem.LimitOf(a.total.Pages.Bytes(a.page))},
			{Path: group, ID: 1, OOMGroup: flag},
		}
		p, err := oom.Predict(s, oom.Memcg(domain), 0)
		if err != nil {
			return nil
		}
		return p.Kills
	}
	return len(dead(true)) > 1 && slices.Equal(dead(false), []int{a.e.Victim.Row})
}

// newerKernel: negative badness is told apart since 5.9.
func (a adviser) newerKernel() (Change, bool) {
	if a.e.Agreement != Tie || a.base.Candidates[0].Points > 1 {
		return Change{}, false
	}
	change, ok := a.confirm(a.tasks, oom.Version{Major: 5, Minor: 9})
	change.What = "Linux 5.9 or newer (5.4.144 of 5.4), which tells negative numbers apart"
	return change, ok
}

// tmpfs: memory that no process maps is freed by no kill.
func (a adviser) tmpfs() (Change, bool) {
	unmapped := part(a.e.Memory, "mapped by nobody in the table")
	if a.report.Memory == nil || unmapped < a.report.Memory.Usage/10 {
		return Change{}, false
	}
	return a.fits(fmt.Sprintf("%s of shared memory and tmpfs that no process maps, deleted or bounded (sizeLimit of an emptyDir)", unmapped.Human()),
		a.report.Memory.Usage-unmapped, a.report.Memory.Limit)
}

// higherLimit is what is left where only one process, or one pod, is concerned.
func (a adviser) higherLimit() (Change, bool) {
	m, name := a.report.Memory, "limit"
	if m != nil && memswReached(a.report) {
		m, name = a.report.MemSw, "limit of memory and swap"
	}
	if a.constraint != oomreport.ConstraintMemcg || m == nil {
		return Change{}, false
	}
	limit, bounded := m.Limit.Bytes()
	if !bounded {
		return Change{}, false
	}
	charge := mem.Pages(1)
	if t := a.report.Trigger; t != nil && t.Order != nil {
		charge <<= min(max(*t.Order, 0), 10)
	}
	used := max(limit, m.Usage)
	return a.fits(fmt.Sprintf("a %s above %s: how much more is needed the log does not tell, as growth was cut off", name, used.Human()),
		m.Usage, mem.LimitOf(used+charge.Bytes(a.page)))
}

// fits asks the model whether a page more fits.
func (a adviser) fits(what string, usage mem.Bytes, limit mem.Limit) (Change, bool) {
	s := a.snapshot(nil, a.total.Pages, a.version)
	s.Cgroups = []oom.Cgroup{{Path: "/domain", Usage: usage, Limit: limit}}
	if _, full := s.FirstOverLimit("/domain", 1); full {
		return Change{}, false
	}
	return Change{What: what, Outcome: "this allocation succeeds, and nobody dies of it"}, true
}
