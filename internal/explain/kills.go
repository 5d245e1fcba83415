package explain

import (
	"fmt"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oomreport"
)

// fillKills tells who died.
func (c *inquiry) fillKills(e *Explanation) {
	for _, k := range c.report.Kills {
		died := Killed{Process: oomreport.Process{PID: k.PID, Name: k.Name}, Held: k.AnonRSS + k.FileRSS, OOMScoreAdj: k.OOMScoreAdj}
		if k.ShmemRSS != nil {
			died.Held += *k.ShmemRSS
		}
		if row := c.report.Task(k.PID); died.OOMScoreAdj == nil && row != nil && row.Name == k.Name {
			died.OOMScoreAdj = &row.OOMScoreAdj
		}
		e.Killed = append(e.Killed, died)
	}
	if g := c.report.GroupKill; g != "" {
		p := placeOf(g, c.context.Pods)
		e.GroupKill = &p
	}
}

func (c *inquiry) fillTrigger(e *Explanation) {
	if c.report.Trigger == nil {
		return
	}
	t := &Trigger{Trigger: *c.report.Trigger}
	for i, row := range e.Ranking {
		if t.PID != 0 && row.PID == t.PID {
			t.Rank = i + 1
		}
	}
	if v, known := c.chosen(); known && t.PID != 0 {
		t.IsVictim = v.PID == t.PID || t.Rank > 0 && e.Ranking[t.Rank-1].PID == e.Victim.Row
	}
	e.Trigger = t
}

// notes are what a reader should know beside the numbers.
func (c *inquiry) notes() []string {
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	r := c.report
	c.noteKills(note)
	if m := r.Memory; m != nil && c.constraint == oomreport.ConstraintMemcg {
		if limit, bounded := m.Limit.Bytes(); bounded && !memswReached(r) && limit-m.Usage > c.room() {
			note("%s below the limit were free when the report was printed: a victim before was giving memory back", (limit - m.Usage).Human())
		}
	}
	if c.constraint != oomreport.ConstraintMemcg {
		c.noteMachine(note)
	}
	if t := r.Trigger; t != nil && t.Order != nil {
		switch {
		case *t.Order == -1:
			note("order -1: somebody asked for it by sysrq; memory need not have run out")
		case *t.Order > 0 && *t.Order < 32:
			note("the allocation asked for %d pages in a row (order %d): free memory in smaller pieces did not help", 1<<*t.Order, *t.Order)
		}
	}
	if r.Withheld > 0 {
		note("the kernel's rate limit suppressed %d reports before this one; their kills are logged one by one", r.Withheld)
	}
	return out
}

// room is how far below its limit a cgroup may be when it runs out: charges are
// made in batches of 32 to 64 pages on each CPU (MEMCG_CHARGE_BATCH).
func (c *inquiry) room() mem.Bytes {
	const batches = 64
	return mem.Pages(64 * batches).Bytes(c.page)
}

func (c *inquiry) noteKills(note func(string, ...any)) {
	r := c.report
	if v := r.Victim; v != nil && len(r.Kills) > 0 && r.Kills[0].PID != v.PID {
		if c.killsAllocating() || v.Score != nil {
			note("the kernel chose %s and killed %s: kernels up to 5.0 kill a child in place of its parent, and name any thread",
				oomreport.Process{PID: v.PID, Name: v.Name}, oomreport.Process{PID: r.Kills[0].PID, Name: r.Kills[0].Name})
		} else {
			note("the kernel chose pid %d and killed pid %d: it names the thread that still has memory", v.PID, r.Kills[0].PID)
		}
	}
	for _, k := range r.Kills {
		if k.Times > 1 {
			note("%s is in the log %d times: memory.oom.group kills its first victim twice, or the log repeats itself",
				oomreport.Process{PID: k.PID, Name: k.Name}, k.Times)
		}
	}
	for _, p := range r.Exiting {
		note("%s was exiting already and was not killed", p)
	}
	if r.Panic != "" {
		note("the kernel panicked: %s", r.Panic)
	}
	if len(r.Kills) == 0 || len(c.earlier) == 0 {
		return
	}
	last, now := c.earlier[len(c.earlier)-1], r.Kills[0].At
	if since := now.Uptime - last.at.Uptime; last.host == r.At.Host && last.at.Uptime > 0 && since >= 0 && since < time.Second {
		note("%s was killed %d ms before: its memory may not have been given back yet, so that this kill may have been needless",
			last.Process, since.Milliseconds())
	}
}

func (c *inquiry) noteMachine(note func(string, ...any)) {
	free, known := c.report.MemInfo.Get("free")
	if known && c.total.Known && free > 0 && mem.Pages(free) <= mostPages && mem.Pages(free) > c.total.Pages/20 {
		note("%s of the machine were free: the allocation could not use them, for its zone, node or order", c.human(mem.Pages(free)))
	}
	if rows := len(c.tasks); rows > 0 && rows < 5 && c.constraint == oomreport.ConstraintNone {
		note("the table has only %d of the machine's processes: who is not in the log can't be ranked", rows)
	}
}
