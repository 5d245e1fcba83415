package explain

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
)

// ranked is the table ranked in a domain of one size, by the rules of one
// version.
type ranked struct {
	oom.Prediction
	total mem.Pages
}

func (c *inquiry) rank(tasks []oom.Task, total mem.Pages, version oom.Version) ranked {
	p, err := oom.Predict(c.snapshot(tasks, total, version), oom.Global, 0)
	if err != nil {
		panic("explain: a table that was validated can't be predicted: " + err.Error())
	}
	return ranked{p, total}
}

// find returns the candidate, nil where it is none.
func (r ranked) find(pid int) *oom.Candidate {
	for i := range r.Candidates {
		if r.Candidates[i].PID == pid {
			return &r.Candidates[i]
		}
	}
	return nil
}

// place returns how many candidates have more points, plus 1; 0 where pid is no
// candidate.
func (r ranked) place(pid int) int {
	c := r.find(pid)
	if c == nil {
		return 0
	}
	place := 1
	for _, other := range r.Candidates {
		if other.Points > c.Points {
			place++
		}
	}
	return place
}

// equals returns how many candidates have the most points.
func (r ranked) equals() int {
	n := 0
	for _, c := range r.Candidates {
		if c.Points == r.Candidates[0].Points {
			n++
		}
	}
	return n
}

// judge ranks the table and compares the model's choice with the kernel's.
func (c *inquiry) judge(e *Explanation) {
	chosen, known := c.chosen()
	if known {
		e.Victim = &Victim{Process: chosen, Row: c.rowOf(chosen)}
		if v := c.report.Victim; v != nil {
			e.Victim.Score = v.Score
		}
		if m := c.victimMemcg(); m != "" {
			e.Victim.Place = placeOf(m, c.context.Pods)
		}
	}
	switch {
	case c.damaged != "":
		e.because(NotJudged, "%s", c.damaged)
	case c.report.Mixed:
		e.because(NotJudged, "the lines contradict each other, so that they are those of several reports: nothing can be computed from them together")
	case len(c.tasks) == 0 && c.killsAllocating():
		e.because(Explained, "vm.oom_kill_allocating_task is set: the kernel killed the allocating process and did not compare points")
	case c.report.Bare():
		e.because(NotJudged, "the log has the kill and no report about it: the kernel's rate limit or the log withheld it")
	case len(c.tasks) == 0 && len(c.report.Columns) == 0:
		e.because(NotJudged, "the log has no task table: whom the rule names can't be computed")
	case len(c.tasks) == 0:
		e.because(c.emptyTable())
	case !known:
		c.fillRanking(e, c.rank(c.tasks, c.atTotal(0), c.version))
		c.judgeWithoutVictim(e)
	case e.Victim.Row == 0:
		c.fillRanking(e, c.rank(c.tasks, c.atTotal(0), c.version))
		e.because(NotJudged, "the victim %s is not in the task table: it is cut, or the process had given up its memory", chosen)
	default:
		c.judgeVictim(e)
	}
}

func (e *Explanation) because(a Agreement, format string, args ...any) {
	e.Agreement = a
	e.why(format, args...)
}

func (e *Explanation) why(format string, args ...any) {
	e.Why = append(e.Why, fmt.Sprintf(format, args...))
}

func (c *inquiry) emptyTable() (Agreement, string) {
	if c.report.NoKillable {
		return Agrees, "the table is empty and the kernel found nobody to kill"
	}
	return NotJudged, "the task table has no rows: whom the rule names can't be computed"
}

func (c *inquiry) judgeWithoutVictim(e *Explanation) {
	switch {
	case c.report.NoKillable && !slices.ContainsFunc(e.Ranking, func(r Row) bool { return r.Excluded == "" }):
		e.because(Agrees, "no process of the table may be killed, and the kernel found none")
	case c.report.NoKillable:
		e.because(Disagrees, "the kernel found nobody to kill, but the table has processes that may be")
	default:
		e.because(NotJudged, "the log does not say whom the kernel chose")
	}
}

// rowOf returns the pid, in the table, of the process that the log names. Older
// kernels name any thread of it, where the table has only the first.
func (c *inquiry) rowOf(p oomreport.Process) int {
	if t := c.report.Task(p.PID); t != nil {
		return cmp.Or(t.TGID, t.PID)
	}
	for _, k := range c.report.Kills {
		if t := c.report.Task(k.PID); t != nil && k.Name == p.Name {
			return cmp.Or(t.TGID, t.PID)
		}
	}
	found := 0
	for _, t := range c.tasks {
		if t.Name == p.Name {
			if found != 0 {
				return 0 // several could be it
			}
			found = t.PID
		}
	}
	return found
}

// atTotal returns the size of the domain to compute with: the report's, or
// where that is not known one at which the victim would be chosen, if any.
func (c *inquiry) atTotal(victim int) mem.Pages {
	if c.total.Known {
		return c.total.Pages
	}
	if victim != 0 {
		if low, high, ok := c.sharesFor(victim); ok {
			return min(max(low*1000, c.total.Low), high*1000+999)
		}
	}
	return c.total.Low
}

// sharesFor returns for which values of totalpages/1000, within the report's
// bounds, nobody has more points than the victim. Each process has held +
// adj*share points, so that every other one gives one bound.
func (c *inquiry) sharesFor(victim int) (low, high mem.Pages, ok bool) {
	low, high = c.total.Low/1000, c.total.High/1000
	base := c.rank(c.tasks, 1, oom.Version{}) // without shares: what each holds
	v := base.find(victim)
	if v == nil {
		return 0, 0, false
	}
	for _, u := range base.Candidates {
		behind, adj := u.Points-v.Points, mem.Pages(v.OOMScoreAdj-u.OOMScoreAdj)
		switch {
		case adj == 0 && behind > 0:
			return 0, 0, false
		case adj > 0 && behind > 0:
			low = max(low, (behind+adj-1)/adj)
		case adj < 0 && behind > 0:
			return 0, 0, false
		case adj < 0:
			high = min(high, -behind/-adj)
		}
	}
	return low, high, low <= high
}

// judgeVictim compares where the table has the victim.
func (c *inquiry) judgeVictim(e *Explanation) {
	pid := e.Victim.Row
	best := c.rank(c.tasks, c.atTotal(pid), c.version)
	defer func() {
		c.fillRanking(e, best)
		e.Victim.Rank = best.place(pid)
		c.fillScore(e, best)
	}()
	if best.find(pid) == nil {
		e.because(Disagrees, "by the rule %s can't be killed: %s", e.Victim.Process, best.excluded(pid))
		return
	}
	if e.Victim.PID != pid {
		e.why("the log names %s, which the table does not list: its process is taken to be %d", e.Victim.Process, pid)
	}
	wins := func(total mem.Pages) bool { return c.rank(c.tasks, total, c.version).place(pid) == 1 }
	switch {
	case best.place(pid) != 1:
		best = c.explainMiss(e, best)
	case !c.total.Known && (!wins(c.total.Low) || !wins(c.total.High)):
		low, high, _ := c.sharesFor(pid)
		e.because(Undetermined, "the log lacks %s: the victim has the most points if that is %s",
			c.total.Open, c.between(low*1000, high*1000+999))
	case best.equals() > 1:
		c.judgeTie(e, best)
	default:
		e.because(Agrees, "the victim has the most points%s", c.ahead(best))
		if !wins(c.total.Low) || !wins(c.total.High) {
			low, high, _ := c.sharesFor(pid)
			e.why("that holds for a domain of %s", c.between(low*1000, high*1000+999))
		}
	}
}

func (r ranked) excluded(pid int) string {
	for _, x := range r.Excluded {
		if x.PID == pid {
			return x.Reason
		}
	}
	return "it is no candidate"
}

// between words a range of sizes within the report's bounds.
func (c *inquiry) between(low, high mem.Pages) string {
	switch {
	case high >= c.total.High:
		return "at least " + c.human(low)
	case low <= c.total.Low:
		return "at most " + c.human(high)
	}
	return c.human(low) + " to " + c.human(high)
}

func (c *inquiry) human(p mem.Pages) string { return p.Bytes(c.page).Human() }

func (c *inquiry) ahead(r ranked) string {
	if len(r.Candidates) < 2 {
		return ": it is the only one that may be killed"
	}
	return fmt.Sprintf(", %s (%d pages) ahead of %s", c.human(r.Margin), r.Margin, nameOf(r.Candidates[1]))
}

func nameOf(c oom.Candidate) string {
	return oomreport.Process{PID: c.PID, Name: c.Name}.String()
}

// judgeTie: the victim has as many points as others. Since 5.3 the last one
// walked is killed (commit f168a9a54ec3); before, the first one stayed.
func (c *inquiry) judgeTie(e *Explanation, r ranked) {
	n := r.equals()
	e.because(Tie, "%d processes have the most points, the victim is one of them", n)
	first, last := r.Candidates[n-1].PID, r.Candidates[0].PID
	switch e.Victim.Row {
	case last:
		e.why("of these it is the last in the table, as the rule has it")
	case first:
		e.why("of these it is the first in the table: kernels before 5.3 keep the first that they meet")
	}
}

// fillRanking turns the model's candidates and excluded tasks into rows.
func (c *inquiry) fillRanking(e *Explanation, r ranked) {
	row := func(candidate oom.Candidate) Row {
		out := Row{Candidate: candidate}
		if t := c.report.Task(candidate.PID); t != nil {
			out.UID = t.UID
		}
		if class, ok := qos.ClassOfScore(candidate.OOMScoreAdj); ok && c.kubernetes() {
			out.Class = string(class)
		}
		return out
	}
	for _, candidate := range r.Candidates {
		e.Ranking = append(e.Ranking, row(candidate))
	}
	if e.Victim != nil { // of equals, the one that the kernel chose stands first
		slices.SortStableFunc(e.Ranking, func(a, b Row) int {
			if a.Points != b.Points {
				return 0
			}
			return boolInt(b.PID == e.Victim.Row) - boolInt(a.PID == e.Victim.Row)
		})
	}
	for _, x := range r.Excluded {
		for _, t := range c.tasks {
			if t.PID == x.PID {
				out := row(oom.Candidate{
					PID: t.PID, Name: t.Name, Anon: t.Anon, File: t.File, Shmem: t.Shmem, UnsplitRSS: t.UnsplitRSS,
					Swap: t.Swap, PageTables: t.PageTables.Pages(c.page), OOMScoreAdj: t.OOMScoreAdj,
				})
				out.Excluded = x.Reason
				e.Ranking = append(e.Ranking, out)
			}
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fillScore computes the score that kernels before 5.0 print.
func (c *inquiry) fillScore(e *Explanation, r ranked) {
	candidate := r.find(e.Victim.Row)
	if e.Victim.Score == nil || candidate == nil || !c.total.Known {
		return
	}
	score := int(max(candidate.Points, 1) * 1000 / r.total)
	e.Victim.ModelScore = &score
	if score != *e.Victim.Score {
		e.why("the kernel printed the score %d, the arithmetic gives %d", *e.Victim.Score, score)
	}
}
