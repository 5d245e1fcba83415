package reproduce

import (
	"fmt"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// Outcome says how far a run did what the report says.
type Outcome string

// The outcomes.
const (
	// Reproduced: constraint, domain, victim, trigger, order and scores are the
	// same, and the forecast was no close call.
	Reproduced Outcome = "reproduced"
	// Partly: the same victim, with differences.
	Partly Outcome = "partly"
	// Not: another victim, or none.
	Not Outcome = "not"
)

// Result compares a run with the report.
type Result struct {
	Outcome Outcome `json:"outcome"`
	Points  []Point `json:"points"`
	// Agreement is how the kernel's choice in the run compares with the model's.
	Agreement explain.Agreement `json:"agreement"`
}

// Point is one thing that is compared.
type Point struct {
	Name string `json:"name"`
	// Same is nil where it can't be compared; Text says why, or what differs.
	Same *bool  `json:"same"`
	Text string `json:"text"`
}

func (r *Result) add(name string, same bool, format string, args ...any) {
	r.Points = append(r.Points, Point{name, &same, fmt.Sprintf(format, args...)})
}

func (r *Result) unknown(name, format string, args ...any) {
	r.Points = append(r.Points, Point{name, nil, fmt.Sprintf(format, args...)})
}

// Score says whether the run did what the report says. The first kill counts.
func (a *Attempt) Score(run *record.Record) Result {
	var r Result
	if len(run.Kills) == 0 || run.Kills[0].Report == nil {
		r.Outcome = Not
		r.add("victim", false, "the kernel killed nobody, or its report is lost")
		return r
	}
	kill := run.Kills[0]
	s := scorer{Attempt: a, run: run, kill: kill, roles: a.rolesOf(run.Snapshot.Tasks, run.Owners)}
	var explainer explain.Explainer
	s.e = explainer.Explain(kill.Report)
	r.Agreement = s.e.Agreement
	s.place(&r)
	same := s.victim(&r)
	s.trigger(&r)
	s.order(&r)
	s.scores(&r)
	s.margin(&r)
	s.group(&r)
	r.Outcome = Reproduced
	for _, p := range r.Points {
		if p.Same != nil && !*p.Same {
			r.Outcome = Partly
		}
	}
	if !same {
		r.Outcome = Not
	}
	return r
}

// scorer is a run with what its first kill means.
type scorer struct {
	*Attempt
	run   *record.Record
	kill  record.Kill
	e     *explain.Explanation
	roles map[int]int
}

func (s scorer) roleOf(pid int) (Role, bool) {
	i, ok := s.roles[pid]
	if !ok {
		return Role{}, false
	}
	return s.Roles[i], true
}

func (s scorer) nameOf(pid int) string {
	if role, ok := s.roleOf(pid); ok {
		return role.String()
	}
	if owner, ok := s.run.Owners[pid]; ok {
		return owner.String() + ", who plays nobody"
	}
	return fmt.Sprintf("process %d, who plays nobody", pid)
}

func (s scorer) place(r *Result) {
	constraint := s.e.RanOut.Constraint
	switch s.Constraint {
	case "":
		r.unknown("constraint", "the log does not tell")
	case constraint:
		r.add("constraint", true, "%s", constraint)
	default:
		r.add("constraint", false, "%s, and %s in the report", constraint, s.Constraint)
	}
	level := s.kill.OOMLevel
	if constraint == oomreport.ConstraintNone {
		level = qos.LevelGlobal
	}
	if s.Level == level {
		r.add("domain", true, "%s ran out", Place(level))
	} else {
		r.add("domain", false, "%s ran out, and in the report %s", Place(level), Place(s.Level))
	}
}

func (s scorer) victim(r *Result) bool {
	role, known := s.roleOf(s.kill.PID)
	want := "nobody"
	for _, w := range s.Roles {
		if w.Victim {
			want = w.String()
		}
	}
	switch {
	case known && role.Victim:
		r.add("victim", true, "%s", role)
	case known && role.Twin:
		r.add("victim", true, "%s, which equals %s in name, score and size", role, want)
	default:
		r.add("victim", false, "%s, and %s in the report", s.nameOf(s.kill.PID), want)
		return false
	}
	return true
}

func (s scorer) trigger(r *Result) {
	var want Role
	for _, w := range s.Roles {
		if w.Trigger {
			want = w
		}
	}
	t := s.kill.Report.Trigger
	switch {
	case want.StandIn:
		r.unknown("trigger", "%s pressed: the table of the report has no process that it can be", want)
	case t == nil:
		r.unknown("trigger", "the run's report lacks it")
	default:
		pid := t.PID
		if t.TGID != 0 {
			pid = t.TGID
		}
		role, known := s.roleOf(pid)
		if known && role.Trigger {
			r.add("trigger", true, "%s", role)
		} else {
			r.add("trigger", false, "%s, and %s in the report", s.nameOf(pid), want)
		}
	}
}

func (s scorer) order(r *Result) {
	if !s.e.TotalPages.Known {
		r.unknown("order", "the run's report lacks %s", s.e.TotalPages.Open)
		return
	}
	points := map[int]float64{}
	for _, row := range s.e.Ranking {
		if i, ok := s.roles[row.PID]; ok && row.Excluded == "" {
			points[i] = float64(row.Points) / float64(s.e.TotalPages.Pages)
		}
	}
	played := 0
	for i, role := range s.Roles {
		if _, ok := points[i]; !ok {
			r.add("order", false, "%s is not in the run's table", role)
			return
		}
		if !role.StandIn {
			played++
		}
	}
	if swaps := s.swapped(points); len(swaps) > 0 {
		r.add("order", false, "%s", swaps[0])
		return
	}
	r.add("order", true, "%d processes in the same order (pairs closer than 1%% don't count)", played)
}

// scores compares the oom_score_adj that the run's processes really had.
func (s scorer) scores(r *Result) {
	for _, row := range s.e.Ranking {
		role, known := s.roleOf(row.PID)
		if !known || role.OOMScoreAdj == row.OOMScoreAdj {
			continue
		}
		text := fmt.Sprintf("%s had %d, and %d in the report", role, row.OOMScoreAdj, role.OOMScoreAdj)
		if role.OOMScoreAdj < s.lowestAdj && row.OOMScoreAdj == s.lowestAdj {
			text += ": " + s.lowestAdjProof
		}
		r.add("scores", false, "%s", text)
		return
	}
	from := map[string]int{}
	for _, role := range s.Roles {
		if role.Class != "" {
			from["class"]++
		} else {
			from["set"]++
		}
	}
	r.add("scores", true, "all %d as in the report: %d follow from a QoS class, %d are set", len(s.Roles), from["class"], from["set"])
}

// margin asks whether the outcome was a close call by the forecast, which was
// made before the pressure.
func (s scorer) margin(r *Result) {
	f := s.run.Forecast
	if f == nil || len(f.Steps) == 0 {
		r.add("margin", false, "there was no forecast")
		return
	}
	step := f.Steps[0]
	page := s.run.Snapshot.Kernel.PageSize
	ahead, behind := 1.0, ""
	var victim *oom.Candidate
	for i, c := range step.Candidates {
		if c.PID == step.Victim {
			victim = &step.Candidates[i]
		}
	}
	if victim == nil {
		r.add("margin", false, "the forecast names nobody: %s", step.Reason)
		return
	}
	for _, c := range step.Candidates {
		role, known := s.roleOf(c.PID)
		if c.PID == victim.PID || known && (role.Victim || role.Twin) {
			continue
		}
		if share := float64(victim.Points-c.Points) / float64(step.TotalPages.Pages); share < ahead {
			ahead, behind = share, s.nameOf(c.PID)
		}
	}
	switch {
	case s.Margin < closeCall:
		r.add("margin", false, "in the report only %.2f%% ahead: a close call", 100*s.Margin)
	case behind == "":
		r.add("margin", true, "by the forecast it was the only one that could be chosen")
	case ahead < closeCall:
		r.add("margin", false, "by the forecast only %.2f%% ahead of %s: a close call", 100*ahead, behind)
	default:
		lead := mem.Bytes(ahead * float64(step.TotalPages.Pages.Bytes(page)))
		r.add("margin", true, "by the forecast %s (%.0f%%) ahead of %s", lead.Human(), 100*ahead, behind)
	}
}

func (s scorer) group(r *Result) {
	roles := map[int]bool{} // a process may be logged once more as one of its threads
	if s.kill.Report.GroupKill != "" {
		for _, k := range s.run.Kills {
			if i, ok := s.roles[k.PID]; ok && k.Group && k.OOMCgroup == s.kill.OOMCgroup {
				roles[i] = true
			}
		}
	}
	died := len(roles)
	switch {
	case s.GroupKill == 0 && died == 0:
	case s.GroupKill == died:
		r.add("group kill", true, "%d processes died together", died)
	case s.run.Snapshot.Kernel.CgroupVersion == 1:
		r.add("group kill", false, "%d processes died together in the report, and cgroup v1 has no memory.oom.group", s.GroupKill)
	default:
		r.add("group kill", false, "%d processes died together, and %d in the report", died, s.GroupKill)
	}
}
