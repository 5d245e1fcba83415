package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
)

// explainMiss looks for the reason why the kernel chose another process than
// the one with the most points. It returns the ranking to show.
func (c *inquiry) explainMiss(e *Explanation, r ranked) ranked {
	pid := e.Victim.Row
	victim, leader := r.find(pid), r.Candidates[0]
	behind := leader.Points - victim.Points
	leads := fmt.Sprintf("%s has %s more points", nameOf(leader), c.human(behind))
	if c.killsAllocating() {
		e.because(Explained, "vm.oom_kill_allocating_task is set: the kernel killed the allocating process and did not compare points (%s)", leads)
		return r
	}
	if older := c.rank(c.tasks, r.total, raised); c.version.IsZero() && older.place(pid) == 1 {
		c.judgeTie(e, older)
		e.why("nobody has more than 1 point; kernels before 5.9 (5.4.144) raise such numbers to 1, so that all are equal, "+
			"where newer ones would choose %s", nameOf(leader))
		return older
	}
	if c.mayHaveRootBonus() {
		if bonus := c.rank(c.withRootBonus(), r.total, c.version); bonus.place(pid) == 1 {
			e.because(Explained, "%s, but kernels up to 4.16 count 3%% less for processes of root, and then the victim leads", leads)
			return r
		}
	}
	low, high, ok := c.sharesFor(pid)
	switch {
	case ok && !c.total.Exact():
		e.because(Undetermined, "%s in a domain of %s; the victim has the most in one of %s, and the log lacks %s",
			leads, c.human(r.total), c.between(low*1000, high*1000+999), c.total.Open)
	case len(c.foreignColumns()) > 0:
		e.because(Explained, "%s by the rule of released kernels; this kernel is patched: its table has a column %s, and it may rank by another rule",
			leads, strings.Join(c.foreignColumns(), ", "))
	case behind <= c.counterError(*victim, leader):
		e.because(Undetermined, "%s, which is within what this kernel's counters may be off by: the table is read again after the choice", leads)
	default:
		e.because(Disagrees, "%s, and nothing in the log explains it. The table is printed after the choice: memory may have moved in between", leads)
	}
	return r
}

// raised is a version whose badness is never below 1.
var raised = oom.Version{Major: 5, Minor: 4}

// killsAllocating: the kernel says so in the message of the kill.
func (c *inquiry) killsAllocating() bool {
	const mark = "(oom_kill_allocating_task)"
	if v := c.report.Victim; v != nil && strings.Contains(v.Message, mark) {
		return true
	}
	return len(c.report.Kills) > 0 && strings.Contains(c.report.Kills[0].Message, mark)
}

// mayHaveRootBonus: commit d46078b28889 removed it in 4.17.
func (c *inquiry) mayHaveRootBonus() bool {
	return !c.version.IsZero() && !c.version.AtLeast(4, 17)
}

// withRootBonus gives processes of root the 3% that those with CAP_SYS_ADMIN
// had: who has that capability is not in the report.
func (c *inquiry) withRootBonus() []oom.Task {
	tasks := slices.Clone(c.tasks)
	for i := range tasks {
		t := &tasks[i]
		if row := c.report.Task(t.PID); row != nil && row.UID == 0 {
			held := t.RSS() + t.Swap + t.PageTables.Pages(c.page)
			t.UnsplitRSS -= min(t.UnsplitRSS, held*3/100)
		}
	}
	return tasks
}

// foreignColumns are headings of the table that no released kernel prints.
func (c *inquiry) foreignColumns() []string {
	stock := []string{"uid", "tgid", "total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "nr_ptes", "nr_pmds",
		"nr_puds", "pgtables_bytes", "swapents", "oom_score_adj"}
	return slices.DeleteFunc(slices.Clone(c.report.Columns), func(name string) bool { return slices.Contains(stock, name) })
}

// counterError bounds how far the counters of the two may be off together. How
// many CPUs the machine has is not in the report: the trigger ran on one.
func (c *inquiry) counterError(a, b oom.Candidate) mem.Pages {
	if c.version.IsZero() {
		return 0
	}
	k := oom.Kernel{Version: c.version, CPUs: 1}
	if t := c.report.Trigger; t != nil && t.CPU != nil {
		k.CPUs = min(max(*t.CPU, 0), 1<<12) + 1
	}
	var sum mem.Pages
	for _, candidate := range []oom.Candidate{a, b} {
		sum += k.CounterError(oom.Task{Anon: candidate.Anon, File: candidate.File, Shmem: candidate.Shmem, UnsplitRSS: candidate.UnsplitRSS, Threads: 1})
	}
	return sum
}
