package reproduce

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
)

// casting is what is known of the report before a scale is chosen.
type casting struct {
	report *oomreport.Report
	e      *explain.Explanation
	o      Options
	total  mem.Bytes // what ran out, as constrained_alloc() counts it
	level  qos.Level
	cast   []Role // most points first
	group  []int  // pids of a group kill
	margin float64
	out    int
	notes  []string
}

// most bounds how many processes a scenario plays, one per role.
const most = 16

func newCasting(r *oomreport.Report, e *explain.Explanation, o Options) (*casting, error) {
	c := &casting{report: r, e: e, o: o, total: e.TotalPages.Pages.Bytes(e.PageSize)}
	switch {
	case e.Victim == nil:
		return nil, fmt.Errorf("%w: the log does not say whom the kernel chose", ErrIncomplete)
	case len(e.Ranking) == 0:
		return nil, fmt.Errorf("%w: the log has no task table", ErrIncomplete)
	case e.Victim.Row == 0:
		return nil, fmt.Errorf("%w: the victim %s is not in the task table", ErrIncomplete, e.Victim.Process)
	case !e.TotalPages.Known:
		return nil, fmt.Errorf("%w: the log lacks %s", ErrIncomplete, e.TotalPages.Open)
	case !slices.ContainsFunc(e.Ranking, func(r explain.Row) bool { return r.PID == e.Victim.Row && r.Excluded == "" }):
		return nil, fmt.Errorf("%w: by the rules %s can't be killed", ErrIncomplete, e.Victim.Process)
	}
	c.level = c.levelOf()
	if e.GroupKill != nil {
		for _, k := range e.Killed {
			c.group = append(c.group, k.PID)
		}
	}
	all := c.eligible()
	if c.margin < 0 {
		return nil, fmt.Errorf("%w: %s has not the most points (%s: %s), so that the sizes and scores of the log lead to another victim",
			ErrIncomplete, e.Victim.Process, e.Agreement, strings.Join(e.Why, "; "))
	}
	c.choose(all)
	return c, nil
}

func (c *casting) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// levelOf says what ran out in a scenario's words. A cgroup that no kubelet
// made is a container if the victim is right in it, and else a pod.
func (c *casting) levelOf() qos.Level {
	if c.e.RanOut.Constraint != oomreport.ConstraintMemcg {
		return qos.LevelGlobal
	}
	place := c.e.RanOut.Place
	if place == nil {
		c.note("the log does not name the cgroup that ran out: a container stands for it")
		return qos.LevelContainer
	}
	switch level := qos.Level(place.Level); level {
	case qos.LevelContainer, qos.LevelPod, qos.LevelKubepods, qos.LevelNode, qos.LevelClass:
		return level
	}
	if victim := c.e.Victim.Place.Path; victim == "" || victim == place.Path {
		c.note("%s is no kubelet's cgroup: a container stands for it", place.Path)
		return qos.LevelContainer
	}
	c.note("%s is no kubelet's cgroup: a pod stands for it", place.Path)
	return qos.LevelPod
}

// choose takes the victim, the trigger, the first of the ranking, and then the
// largest of the rest.
func (c *casting) choose(all []Role) {
	trigger := c.trigger(all)
	take := map[int]bool{c.e.Victim.Row: true}
	for i := range all {
		all[i].Trigger = all[i].PID == trigger.PID && trigger.PID != 0 && !trigger.StandIn
		if all[i].Trigger || slices.Contains(c.group, all[i].PID) {
			take[all[i].PID] = true
		}
	}
	bySize := slices.Clone(all)
	slices.SortStableFunc(bySize, func(a, b Role) int { return int(b.Held>>10) - int(a.Held>>10) })
	for _, list := range [][]Role{all[:min(len(all), most*3/4)], bySize} {
		for _, r := range list {
			if len(take) < most {
				take[r.PID] = true
			}
		}
	}
	for _, r := range all {
		if take[r.PID] {
			c.cast = append(c.cast, r)
		}
	}
	c.out = len(c.e.Ranking) - len(c.cast)
	if trigger.StandIn {
		c.cast = append(c.cast, trigger)
	}
}

// eligible returns the processes that the kernel could choose, as roles.
func (c *casting) eligible() []Role {
	var all []Role
	victim := c.e.Ranking[slices.IndexFunc(c.e.Ranking, func(r explain.Row) bool { return r.PID == c.e.Victim.Row })]
	c.margin = 1
	for _, row := range c.e.Ranking {
		if row.Excluded != "" {
			continue
		}
		share := func(r explain.Row) float64 { return float64(r.Points.Bytes(c.e.PageSize)) / float64(c.total) }
		r := Role{
			Process: oomreport.Process{PID: row.PID, Name: row.Name}, OOMScoreAdj: row.OOMScoreAdj, Class: qos.Class(row.Class),
			Held: row.Held().Bytes(c.e.PageSize), Share: share(row), Victim: row.PID == victim.PID,
		}
		ahead := share(victim) - r.Share
		r.Twin = !r.Victim && row.Name == victim.Name && row.OOMScoreAdj == victim.OOMScoreAdj && math.Abs(ahead) < closeCall
		if !r.Victim && !r.Twin {
			c.margin = min(c.margin, ahead)
		}
		all = append(all, r)
	}
	return all
}

// trigger returns the role that pressed, or a stand-in for it.
func (c *casting) trigger(all []Role) Role {
	standIn := Role{StandIn: true, Trigger: true, OOMScoreAdj: c.e.Ranking[0].OOMScoreAdj}
	standIn.Name = "the trigger"
	t := c.e.Trigger
	if t == nil {
		c.note("the log does not say who was allocating: a process of its own presses")
		return standIn
	}
	standIn.Name, standIn.PID = t.Name, t.PID
	if t.OOMScoreAdj != nil {
		standIn.OOMScoreAdj = *t.OOMScoreAdj
	}
	find := func(is func(Role) bool) []Role {
		return slices.DeleteFunc(slices.Clone(all), func(r Role) bool { return !is(r) })
	}
	if same := find(func(r Role) bool { return r.PID == t.PID || r.PID == t.TGID && t.TGID != 0 }); len(same) == 1 {
		return same[0]
	}
	if same := find(func(r Role) bool { return r.Name == t.Name }); len(same) == 1 {
		c.note("%s, which was allocating, is not in the table: it is taken to be a thread of %s", t.Name, same[0])
		return same[0]
	}
	if len(all) == 1 && c.e.RanOut.Constraint == oomreport.ConstraintMemcg {
		c.note("%s, which was allocating, is taken to be a thread of %s, the only process there", t.Name, all[0])
		return all[0]
	}
	c.note("%s, which was allocating, is not among those that may be killed: a small process of its own presses", t.Name)
	if class, ok := qos.ClassOfScore(standIn.OOMScoreAdj); ok && c.kubernetes() {
		standIn.Class = class
	}
	return standIn
}

// kubernetes says that scores of the report are a kubelet's.
func (c *casting) kubernetes() bool {
	return slices.ContainsFunc(c.e.Ranking, func(r explain.Row) bool { return r.Class != "" })
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf makes a DNS label of a process's name.
func nameOf(r Role) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(r.Name), "-"), "-")
	if name == "" {
		name = "p"
	}
	if r.PID != 0 {
		name += fmt.Sprintf("-%d", r.PID)
	}
	return name
}
