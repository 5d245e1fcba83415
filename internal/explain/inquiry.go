package explain

import (
	"cmp"
	"fmt"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
)

// inquiry is a report with what was concluded from it so far.
type inquiry struct {
	report     *oomreport.Report
	context    Context
	earlier    []earlier
	version    oom.Version // zero: not known
	constraint oomreport.Constraint

	page     mem.Bytes
	pageFrom string
	total    TotalPages
	tasks    []oom.Task
	damaged  string // what is impossible in the table
	assumed  []string
}

func newInquiry(r *oomreport.Report, context Context, before []earlier) *inquiry {
	c := &inquiry{report: r, context: context, earlier: before, version: context.Kernel, constraint: constraintOf(r)}
	if v, err := oom.ParseVersion(r.Kernel); err == nil {
		c.version = v
	}
	c.page, c.pageFrom = pageSize(r)
	if c.pageFrom == "" {
		c.page, c.pageFrom = 4*mem.KiB, "assumed"
	}
	c.total = c.totalPages()
	c.tasks = c.readTable()
	if c.pageFrom == "assumed" && len(c.tasks) > 0 {
		c.assume("pages of %s", c.page)
	}
	c.narrowByScore()
	return c
}

// kubernetes says that the cgroups in the report are a kubelet's, so that a
// score tells something of a pod.
func (c *inquiry) kubernetes() bool {
	for _, path := range []string{c.report.Domain, c.victimMemcg(), c.report.GroupKill} {
		if _, ok := qos.ParseCgroupPath(path); ok {
			return true
		}
	}
	return len(c.context.Pods) > 0
}

func (c *inquiry) assume(format string, args ...any) {
	c.assumed = append(c.assumed, fmt.Sprintf(format, args...))
}

// constraintOf says what ran out, also where the log has no oom-kill: line.
// (Linux 5.0 to 5.2 print CONSTRAINT_NONE for memory cgroups.)
func constraintOf(r *oomreport.Report) oomreport.Constraint {
	switch {
	case r.Domain != "", r.Memory != nil, r.Constraint == oomreport.ConstraintMemcg:
		return oomreport.ConstraintMemcg
	case r.Constraint != "" && r.Constraint != oomreport.ConstraintNone:
		return r.Constraint
	case r.Global:
		return oomreport.ConstraintNone
	}
	for _, k := range r.Kills {
		if k.Message == "Memory cgroup out of memory" {
			return oomreport.ConstraintMemcg
		}
	}
	return ""
}

// readTable turns the task table into what the model reads. A row that no
// kernel can have printed leaves it unread.
func (c *inquiry) readTable() []oom.Task {
	var tasks []oom.Task
	seen := map[int]bool{}
	for row := range c.report.Tasks {
		t := &c.report.Tasks[row]
		pid := cmp.Or(t.TGID, t.PID)
		if seen[pid] {
			continue
		}
		seen[pid] = true
		task := oom.Task{
			PID: pid, Name: t.Name, Order: row, OOMScoreAdj: t.OOMScoreAdj, Swap: t.SwapEnts, UnsplitRSS: t.RSS,
			PageTables: t.PgtablesPages.Bytes(c.page) + t.PgtablesBytes,
			GlobalInit: pid == 1,
			OOMSkip:    c.killedBefore(pid, t.Name),
		}
		if by := t.RSSBy; by != nil {
			task.Anon, task.File, task.Shmem, task.UnsplitRSS = by.Anon, by.File, by.Shmem, 0
		}
		tasks = append(tasks, task)
	}
	err := c.snapshot(tasks, 1, c.version).Validate()
	for _, t := range c.report.Tasks {
		if t.PgtablesPages < 0 || t.PgtablesPages > mostPages {
			err = fmt.Errorf("process %d has %d pages of page tables", t.PID, t.PgtablesPages)
		}
	}
	if err != nil {
		c.damaged = fmt.Sprintf("the task table holds what no kernel prints: %v", err)
		return nil
	}
	return tasks
}

// killedBefore says that an earlier report of the same host killed the process.
// It is listed as long as it has memory, and skipped once it was reaped. (While
// it is neither, nobody else is killed.)
func (c *inquiry) killedBefore(pid int, name string) bool {
	if v, _ := c.chosen(); v.PID == pid {
		return false
	}
	for _, k := range c.earlier {
		if k.host == c.report.At.Host && k.PID == pid && k.Name == name {
			return true
		}
	}
	return false
}

// snapshot is what the model chooses from: the tasks, in a domain of total
// pages. What the domain was does not matter beyond its size, because the table
// has just its processes.
func (c *inquiry) snapshot(tasks []oom.Task, total mem.Pages, version oom.Version) oom.Snapshot {
	return oom.Snapshot{
		FromReport: true, Tasks: tasks,
		Kernel: oom.Kernel{Version: version, PageSize: c.page, CgroupVersion: 2, RAM: total},
	}
}

// chosen returns the process that the kernel chose: the one that the log names
// as such, or else the first one killed.
func (c *inquiry) chosen() (oomreport.Process, bool) {
	if v := c.report.Victim; v != nil {
		return oomreport.Process{PID: v.PID, Name: v.Name}, true
	}
	if len(c.report.Kills) > 0 {
		k := c.report.Kills[0]
		return oomreport.Process{PID: k.PID, Name: k.Name}, true
	}
	return oomreport.Process{}, false
}

// pageSize returns the size of a page and how it is known; "" if it is not.
func pageSize(r *oomreport.Report) (mem.Bytes, string) {
	// The kill line has the victim's total-vm in bytes, the table in pages.
	for _, k := range r.Kills {
		t := r.Task(k.PID)
		if t == nil || t.TotalVM <= 0 || t.Name != k.Name {
			continue
		}
		for page := 4 * mem.KiB; page <= 64*mem.KiB; page *= 2 {
			if k.TotalVM/page == mem.Bytes(t.TotalVM) && k.TotalVM%page == 0 {
				return page, "total-vm of the victim, in bytes and in pages"
			}
		}
	}
	// Page tables consist of whole pages. That those of some processes are all
	// multiples of 16 pages by chance is one in 16 for each.
	var common mem.Bytes
	distinct := map[mem.Bytes]bool{}
	for _, t := range r.Tasks {
		if t.PgtablesBytes > 0 {
			common = gcd(common, t.PgtablesBytes)
			distinct[t.PgtablesBytes] = true
		}
	}
	for page, enough := 64*mem.KiB, 3; page >= 4*mem.KiB; page, enough = page/2, enough+2 {
		if common%page == 0 && len(distinct) >= enough {
			return page, "the page tables of all processes are whole multiples of it"
		}
	}
	return 0, ""
}

func gcd(a, b mem.Bytes) mem.Bytes {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
