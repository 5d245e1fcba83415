// Package oomreport reads the reports that the Linux OOM killer writes to the
// kernel log: 3.10 to 7.x, whole or in pieces. It says what a log lacks and
// never fills it in.
//
// A line goes through two steps. A Record is a line without its prefix (time,
// host, wrapper of a container runtime). An Assembler, fed one Record at a time,
// puts reports together and tells of a kill as soon as its line has come: that
// is the live way, for /dev/kmsg. A Scanner does both steps for a whole file in
// any of the common formats.
//
// The formats are those of mm/oom_kill.c (dump_header, dump_tasks,
// dump_oom_victim, __oom_kill_process), mm/memcontrol.c
// (mem_cgroup_print_oom_meminfo), mm/show_mem.c and lib/dump_stack.c.
package oomreport

import (
	"slices"
	"strconv"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// Report is one run of the kernel's OOM killer, as far as the log shows it. A
// nil pointer, an empty string or an empty slice says that the log lacks it;
// Missing says the same in words.
type Report struct {
	// At is the first line that belongs to the report.
	At Position `json:"at"`
	// Kernel is the release named by the trace header, such as "6.18.44".
	Kernel  string   `json:"kernel,omitempty"`
	Trigger *Trigger `json:"trigger,omitempty"`

	// Constraint is empty before Linux 5.0, which printed none.
	Constraint Constraint `json:"constraint,omitempty"`
	// Domain is the path of the memory cgroup that ran out (oom_memcg), from
	// the root of the host's hierarchy.
	Domain string `json:"domain,omitempty"`
	// Global says that the whole machine ran out. Where Domain is empty and
	// Global false, the log does not tell what ran out.
	Global      bool   `json:"global,omitempty"`
	Cpuset      string `json:"cpuset,omitempty"`
	Nodemask    string `json:"nodemask,omitempty"`
	MemsAllowed string `json:"memsAllowed,omitempty"`

	Memory     *Counter    `json:"memory,omitempty"`
	Swap       *Counter    `json:"swap,omitempty"`           // cgroup v2
	MemSw      *Counter    `json:"memoryPlusSwap,omitempty"` // cgroup v1
	Kmem       *Counter    `json:"kmem,omitempty"`           // cgroup v1
	Protection *Protection `json:"protection,omitempty"`
	// Stats are the domain's "Memory cgroup stats", in the kernel's order:
	// bytes where memory.stat has bytes, otherwise counts.
	Stats Stats `json:"stats,omitempty"`
	// MemInfo is the machine's "Mem-Info", in pages.
	MemInfo Stats    `json:"memInfoPages,omitempty"`
	Machine *Machine `json:"machine,omitempty"`

	// Columns are the headings of the task table as printed, without pid.
	Columns []string `json:"columns,omitempty"`
	// Tasks are the rows of the task table in the kernel's order. The kernel
	// reads it after it has chosen the victim, and lists processes that it
	// would never kill (oom_score_adj -1000) as well.
	Tasks []Task `json:"tasks,omitempty"`

	Victim *Victim `json:"victim,omitempty"`
	Kills  []*Kill `json:"kills,omitempty"`
	// GroupKill is the cgroup whose memory.oom.group killed all its tasks.
	GroupKill string `json:"groupKill,omitempty"`
	// Exiting are processes that the kernel did not kill, because they had
	// already begun to exit.
	Exiting []Process `json:"exiting,omitempty"`
	// Reaped are the oom_reaper lines seen until the next report. A pid that
	// Kills does not have was killed earlier. A victim that exits within two
	// seconds leaves no such line.
	Reaped []Reaped `json:"reaped,omitempty"`
	// NoKillable says that the kernel found no process that it may kill.
	NoKillable bool `json:"noKillable,omitempty"`
	// Panic is the text of the panic that ended the report.
	Panic string `json:"panic,omitempty"`

	// Withheld is how many reports the kernel's rate limit suppressed before
	// this one. Their kills are printed, each without a report.
	Withheld int `json:"withheldReports,omitempty"`
	// LostRecords counts records of /dev/kmsg that are absent from the middle
	// of the report, by their sequence numbers.
	LostRecords uint64 `json:"lostRecords,omitempty"`
	// Mixed says that one and the same thing is in it with two different values,
	// so that its lines are those of several reports: of machines whose logs were
	// put together, or pieces of a log.
	Mixed bool `json:"mixed,omitempty"`
	// Backwards says that it is older than what the log has before it: the log
	// runs backwards, or another boot begins.
	Backwards bool `json:"backwards,omitempty"`
	// Missing says what the log lacks of the report.
	Missing []string `json:"missing,omitempty"`
}

// Bare reports that the log has a kill and nothing of the report about it: the
// kernel limits reports to 10 in 5 seconds, but prints every "Killed process".
func (r *Report) Bare() bool {
	return r.Trigger == nil && r.Constraint == "" && r.Victim == nil && r.Memory == nil &&
		r.Columns == nil && r.GroupKill == "" && len(r.Kills) > 0
}

// HasColumn reports whether the task table has a column of that heading.
func (r *Report) HasColumn(name string) bool { return slices.Contains(r.Columns, name) }

// Task returns the row of a process by its pid or thread group id, nil where
// the table lacks it.
func (r *Report) Task(pid int) *Task {
	for i := range r.Tasks {
		if r.Tasks[i].PID == pid || r.Tasks[i].TGID == pid {
			return &r.Tasks[i]
		}
	}
	return nil
}

// Position is where in a log something was printed. Zero values are unknown.
type Position struct {
	// Line counts lines of a file from 1.
	Line int `json:"line,omitempty"`
	// Seq is the sequence number of a /dev/kmsg record.
	Seq uint64 `json:"seq,omitempty"`
	// Uptime is printk's time since boot. It is not CLOCK_MONOTONIC.
	Uptime time.Duration `json:"uptimeNanoseconds,omitempty"`
	// Stamp is the wall-clock time as printed: formats and zones differ, and
	// many lack the year.
	Stamp string `json:"stamp,omitempty"`
	// Host is the host that a syslog line names.
	Host string `json:"host,omitempty"`
}

// Constraint is what narrowed the kernel's choice, as the oom-kill: line
// spells it (mm/oom_kill.c, oom_constraint_text).
type Constraint string

// The constraints that kernels print.
const (
	ConstraintNone         Constraint = "CONSTRAINT_NONE"
	ConstraintCpuset       Constraint = "CONSTRAINT_CPUSET"
	ConstraintMemoryPolicy Constraint = "CONSTRAINT_MEMORY_POLICY"
	ConstraintMemcg        Constraint = "CONSTRAINT_MEMCG"
)

// Trigger is the task whose allocation invoked the OOM killer.
type Trigger struct {
	Name string `json:"name"`
	// PID is that of the allocating thread, in the initial pid namespace. 0 is
	// unknown: it comes from the trace header, a line of its own.
	PID int `json:"pid,omitempty"`
	// TGID is the process of that thread. No log has it: whoever reads the log
	// while it is written can ask /proc. 0 is unknown.
	TGID int  `json:"tgid,omitempty"`
	CPU  *int `json:"cpu,omitempty"`
	// GFPMask is empty where the line is cut. GFPFlags are its names.
	GFPMask  string `json:"gfpMask,omitempty"`
	GFPFlags string `json:"gfpFlags,omitempty"`
	// Order is the allocation's size, 2^order pages; -1 is a sysrq request.
	Order       *int `json:"order,omitempty"`
	OOMScoreAdj *int `json:"oomScoreAdj,omitempty"`
}

// Counter is a page counter of the domain (mem_cgroup_print_oom_meminfo).
type Counter struct {
	Usage   mem.Bytes `json:"usageBytes"`
	Limit   mem.Limit `json:"limitBytes"`
	Failcnt uint64    `json:"failcnt"`
}

// Protection is the effective memory.min and memory.low of the domain, which
// Linux 6.19 and later print.
type Protection struct {
	Min mem.Bytes `json:"minBytes"`
	Low mem.Bytes `json:"lowBytes"`
}

// Stat is one named number.
type Stat struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
}

// Stats are named numbers in the order in which the kernel prints them.
type Stats []Stat

// Get returns the number of a name, and whether it is there.
func (s Stats) Get(name string) (int64, bool) {
	for _, stat := range s {
		if stat.Name == name {
			return stat.Value, true
		}
	}
	return 0, false
}

// Machine is the size of the machine, as a global report prints it
// (show_mem). The totalpages of a global OOM are RAM less Reserved, plus swap.
type Machine struct {
	RAM       *mem.Pages `json:"ramPages,omitempty"`
	Reserved  *mem.Pages `json:"reservedPages,omitempty"`
	SwapTotal *mem.Bytes `json:"swapTotalBytes,omitempty"`
	SwapFree  *mem.Bytes `json:"swapFreeBytes,omitempty"`
}

// Task is a row of the task table. Report.Columns tells which columns the
// kernel printed: a number whose column is absent is zero.
type Task struct {
	PID     int       `json:"pid"`
	UID     uint32    `json:"uid"`
	TGID    int       `json:"tgid"`
	TotalVM mem.Pages `json:"totalVMPages"`
	RSS     mem.Pages `json:"rssPages"`
	// RSSBy is nil before Linux 6.8.
	RSSBy *RSSBy `json:"rssBy,omitempty"`
	// PgtablesBytes is printed since Linux 4.15, PgtablesPages before it (the
	// sum of nr_ptes, nr_pmds and nr_puds).
	PgtablesBytes mem.Bytes `json:"pgtablesBytes,omitempty"`
	PgtablesPages mem.Pages `json:"pgtablesPages,omitempty"`
	SwapEnts      mem.Pages `json:"swapPages"`
	OOMScoreAdj   int       `json:"oomScoreAdj"`
	Name          string    `json:"name"`
}

// RSSBy is rss by the kind of memory.
type RSSBy struct {
	Anon  mem.Pages `json:"anonPages"`
	File  mem.Pages `json:"filePages"`
	Shmem mem.Pages `json:"shmemPages"`
}

// Victim is the process that the kernel chose: from the oom-kill: line, before
// Linux 5.0 from the "Kill process" line.
type Victim struct {
	// Memcg is the memory cgroup the process was in (task_memcg).
	Memcg string  `json:"memcg,omitempty"`
	Name  string  `json:"name"`
	PID   int     `json:"pid"`
	UID   *uint32 `json:"uid,omitempty"`
	// Score is badness in thousandths of totalpages, before Linux 5.0; Message
	// is what its line begins with, such as "Memory cgroup out of memory".
	Score   *int   `json:"score,omitempty"`
	Message string `json:"message,omitempty"`
}

// Kill is a "Killed process" line.
type Kill struct {
	At Position `json:"at"`
	// Message is what the line begins with, such as "Memory cgroup out of
	// memory". It is empty before Linux 5.0, where it is in a line before.
	Message string `json:"message,omitempty"`
	// PID is in the initial pid namespace. It may be that of a thread.
	PID      int        `json:"pid"`
	Name     string     `json:"name"`
	TotalVM  mem.Bytes  `json:"totalVMBytes"`
	AnonRSS  mem.Bytes  `json:"anonRSSBytes"`
	FileRSS  mem.Bytes  `json:"fileRSSBytes"`
	ShmemRSS *mem.Bytes `json:"shmemRSSBytes,omitempty"`
	// UID, Pgtables and OOMScoreAdj are printed since Linux 5.4.
	UID         *uint32    `json:"uid,omitempty"`
	Pgtables    *mem.Bytes `json:"pgtablesBytes,omitempty"`
	OOMScoreAdj *int       `json:"oomScoreAdj,omitempty"`
	// Times is how often this report printed the kill. memory.oom.group kills
	// (and counts in memory.events) its first victim twice.
	Times int `json:"times"`
}

// Process is a process by pid (in the initial namespace) and name.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// String writes "name/pid".
func (p Process) String() string { return p.Name + "/" + strconv.Itoa(p.PID) }

// Reaped is an "oom_reaper: reaped process" line: what the victim still held
// when the kernel had torn its memory down.
type Reaped struct {
	At Position `json:"at"`
	Process
	AnonRSS  mem.Bytes `json:"anonRSSBytes"`
	FileRSS  mem.Bytes `json:"fileRSSBytes"`
	ShmemRSS mem.Bytes `json:"shmemRSSBytes"`
}
