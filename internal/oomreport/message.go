package oomreport

import "strings"

// kind is what a line of the kernel log says, in the order in which one run of
// the OOM killer prints its lines (mm/oom_kill.c, dump_header to
// oom_kill_process).
type kind uint8

const (
	other kind = iota
	suppressed
	header
	trace
	taskIn
	memory
	memsw
	swap
	kmem
	statsHead
	memInfoHead
	machine
	protection
	tasksHead
	columns
	row
	summary
	selection
	killed
	groupKill
	exiting
	reaped
	noKillable
	panicked
)

// own says that nobody but the OOM killer prints such a line while it runs.
func (k kind) own() bool {
	switch k {
	case other, suppressed, header, trace, memInfoHead, machine, tasksHead, row, reaped:
		return false
	}
	return true
}

const (
	headerMark     = " invoked oom-killer:"
	killedMark     = "Killed process "
	suppressedMark = "oom_kill_process: "
	limitOf        = " killed as a result of limit of "
	panicMark      = "Kernel panic - not syncing: "
	groupSuffix    = " are going to be killed due to memory.oom.group set"
)

// prefixes of lines that need no closer look.
var prefixes = []struct {
	text string
	kind kind
}{
	{suppressedMark, suppressed},
	{"oom-kill:", summary},
	{"oom_reaper: reaped process ", reaped},
	{"CPU: ", trace},
	{"memory: usage ", memory},
	{"memory+swap: usage ", memsw},
	{"swap: usage ", swap},
	{"kmem: usage ", kmem},
	{"Memory cgroup stats for ", statsHead},
	{"Memory cgroup min protection ", protection},
	{"Mem-Info:", memInfoHead},
	{"Free swap ", machine},
	{"Total swap ", machine},
	{"Tasks state (memory values in pages):", tasksHead},
	{"Out of memory and no killable processes", noKillable},
}

// classify tells the kind of a kernel message that has no prefix left. Process
// names and cgroup paths come from users: every kind is told by text at the
// start of the line, or by text that is longer than a name (15 bytes).
func classify(s string) kind {
	if strings.Contains(s, headerMark) {
		return header
	}
	for _, p := range prefixes {
		if strings.HasPrefix(s, p.text) {
			return p.kind
		}
	}
	switch {
	case strings.HasPrefix(s, "["):
		if strings.HasPrefix(strings.TrimLeft(s[1:], " "), "pid") {
			return columns
		}
		return row
	case strings.HasPrefix(s, "Tasks in ") && strings.Contains(s, groupSuffix):
		return groupKill
	case strings.HasPrefix(s, "Task in ") && strings.Contains(s, limitOf):
		return taskIn
	case strings.HasSuffix(s, " pages RAM"), strings.HasSuffix(s, " pages reserved"):
		if pages, unit, _ := strings.Cut(s, " "); isDigits(pages) && strings.Count(unit, " ") == 1 {
			return machine
		}
		return other // it has a prefix that is not known
	case strings.HasPrefix(s, panicMark+"Out of memory"), strings.HasPrefix(s, panicMark+"System is deadlocked on memory"):
		return panicked
	}
	message, rest, ok := cutMessage(s)
	switch {
	case !ok:
		return other
	case strings.HasPrefix(rest, killedMark):
		return killed
	case message != "" && strings.HasPrefix(rest, "Kill process "):
		return selection
	case message != "" && strings.HasPrefix(rest, "OOM victim "):
		return exiting
	}
	return other
}

// cutMessage splits what the kernel calls the message ("Out of memory",
// "Memory cgroup out of memory", "Out of memory (oom_kill_allocating_task)")
// from the rest of a kill line.
func cutMessage(s string) (message, rest string, ok bool) {
	if strings.HasPrefix(s, killedMark) {
		return "", s, true
	}
	if !strings.HasPrefix(s, "Out of memory") && !strings.HasPrefix(s, "Memory cgroup out of memory") {
		return "", "", false
	}
	return strings.Cut(s, ": ")
}
