package oomreport

import (
	"strings"
	"time"
)

// Record is one line of a kernel log without its prefix.
type Record struct {
	Position
	// Text is the message. A line feed in it stands where the log was wrapped.
	Text string
	// Userspace says that a process wrote the record, not the kernel. The
	// assembler ignores it: anybody with access to /dev/kmsg can write one.
	Userspace bool
}

// EventKind says what an Event tells.
type EventKind uint8

const (
	// Started is sent with the first line of a report.
	Started EventKind = iota
	// Killed is sent with each "Killed process" line.
	Killed
	// Reaping is sent with each oom_reaper line.
	Reaping
	// Closed is sent when nothing more is added to the report.
	Closed
)

// Event is what a pushed record meant.
type Event struct {
	Kind EventKind
	// Report is the report so far. It grows until Closed. A kill whose report
	// the kernel's rate limit withheld has a report that is Bare.
	Report *Report
	// Kill is set where Kind is Killed. A kill that the report printed before
	// comes again with Times increased.
	Kill *Kill
	// Reaped is set where Kind is Reaping.
	Reaped *Reaped
}

const (
	// quietLines is how many lines of other origin end a report that has no
	// kill yet. The longest part that Assembler skips, the zones and slabs of
	// a global report, has a few lines per NUMA node and slab cache.
	quietLines = 4096
	// groupGap is the longest time between two kills of one memory.oom.group.
	groupGap = time.Second
	// maxRows and maxLines bound the memory that a hostile log can take.
	maxRows  = 1 << 18
	maxLines = 1 << 10
)

// Assembler puts the records of one kernel log together to reports. The kernel
// runs one OOM killer at a time (oom_lock), so one report is open at most. The
// zero value is ready to use.
type Assembler struct {
	current *Report // the latest report, nil before the first
	open    bool    // current has no kill yet: any line may belong to it

	section  kind        // of the latest line that current took
	stage    kind        // the furthest kind that current took
	quiet    int         // lines since then
	layout   []field     // of the task table
	pids     map[int]int // to their rows in the task table
	victimIn string      // the victim's cgroup, before 5.0, which names the victim later
	lastKill Position    // or group kill

	backwards bool // the latest report was older than what came next

	withheld int      // reports that the kernel suppressed before the next
	early    *Machine // from lines that came while no report was open
	earlyAge int      // lines since then

	before Record
	events []Event
}

// Push takes the next record and returns what it meant, mostly nothing. The
// slice is valid until the next call.
func (a *Assembler) Push(r Record) []Event {
	a.events = a.events[:0]
	a.quiet++
	a.earlyAge++
	if a.quiet > quietLines {
		a.open = false
	}
	if r.Userspace || a.repeated(r) {
		return nil
	}
	text := strings.TrimRight(r.Text, " \t\r\n")
	k := classify(text)
	if k != row && strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\n", " ")
		k = classify(text)
	}
	if a.take(k, text, r.Position) {
		a.quiet = 0
	}
	return a.events
}

// Open reports whether the latest report still waits for its kill, so that
// any line may belong to it.
func (a *Assembler) Open() bool { return a.open }

// Close ends the latest report.
func (a *Assembler) Close() []Event {
	a.events = a.events[:0]
	a.close()
	return a.events
}

// repeated says that a record is the one before, logged twice. The kernel
// itself never repeats a line at once: a group kill prints one in between.
func (a *Assembler) repeated(r Record) bool {
	same, stamp := r, r.Position
	same.Line, stamp.Line = a.before.Line, 0
	twice := same == a.before && stamp != Position{}
	if a.open && a.before.Seq != 0 && r.Seq > a.before.Seq+1 {
		a.current.LostRecords += r.Seq - a.before.Seq - 1
	}
	a.before = r
	return twice
}

// start closes the latest report and starts the next.
func (a *Assembler) start(at Position) {
	a.close()
	a.current, a.open = &Report{At: at, Backwards: a.backwards}, true
	a.section, a.stage = other, other
	a.layout, a.pids, a.victimIn = nil, nil, ""
	a.events = append(a.events, Event{Kind: Started, Report: a.current})
}

func (a *Assembler) close() {
	if a.current != nil {
		finish(a.current)
		a.events = append(a.events, Event{Kind: Closed, Report: a.current})
	}
	a.current, a.open = nil, false
}

// take adds a line to the report that it belongs to, and says if it did.
func (a *Assembler) take(k kind, text string, at Position) (ok bool) {
	a.backwards = a.backwards && !a.open
	if k.own() && a.open && at.Uptime > 0 && at.Uptime < a.current.At.Uptime {
		a.open, a.backwards = false, true
	}
	switch k {
	case suppressed: // "3 callbacks suppressed", a line before the header
		a.withheld, ok = number[int](text, suppressedMark)
		return ok
	case header:
		a.start(at)
		a.current.Trigger, ok = parseHeader(text), true
		a.current.Withheld, a.withheld = a.withheld, 0
	case killed:
		ok = a.takeKilled(text, at)
	case selection:
		ok = a.takeSelection(text, at)
	case exiting, groupKill, noKillable, panicked:
		ok = a.takeInstead(k, text, at)
	case reaped:
		return a.takeReaped(text, at) // a reaper prints at any time
	case other, trace, row, tasksHead, memInfoHead, machine:
		// Others print such lines as well.
		if !a.open {
			return k == machine && a.takeEarly(text)
		}
		if k == other {
			return a.takeStat(text)
		}
		ok = a.takeShared(k, text)
	default:
		ok = a.takeOwn(k, text, at)
	}
	if ok {
		a.section, a.stage = k, max(a.stage, k)
	}
	return ok
}

// takeOwn adds a line that only the OOM killer prints. A kind that the report
// has passed belongs to the next, whose header the log lacks. (Lines before the
// task table may be there twice: pagers and pastes repeat them.)
func (a *Assembler) takeOwn(k kind, text string, at Position) bool {
	set := parseOwn(k, text)
	if set == nil {
		return false
	}
	if !a.open || a.stage >= columns && k <= a.stage || k == summary && a.contradicts(set) {
		a.start(at)
		if a.early != nil && a.earlyAge < maxLines && k >= columns {
			a.current.Machine = a.early
		}
	}
	set(a.current)
	switch k {
	case taskIn:
		a.victimIn, _, _ = strings.Cut(strings.TrimPrefix(text, "Task in "), limitOf)
	case columns:
		a.layout = layoutOf(a.current.Columns)
	}
	return true
}

// contradicts says that an oom-kill: line is of another report than the open
// one: the machine ran out there, a cgroup here.
func (a *Assembler) contradicts(set func(*Report)) bool {
	var r Report
	set(&r)
	return r.Global && a.current.Domain != ""
}

// parseOwn returns how a line changes its report, nil if it is not understood.
func parseOwn(k kind, text string) func(*Report) {
	switch k {
	case memory, memsw, swap, kmem:
		if c, ok := parseCounter(text); ok {
			return func(r *Report) {
				before := r.counter(k)
				r.Mixed = r.Mixed || *before != nil && **before != *c
				*before = c
			}
		}
	case taskIn:
		_, domain, _ := strings.Cut(text, limitOf)
		return func(r *Report) { r.Domain = domain }
	case statsHead:
		path, stats := parseStatsHead(text)
		return func(r *Report) {
			if r.Domain == "" {
				r.Domain = path
			}
			// Before Linux 5.1 the cgroups below the domain follow.
			if r.Domain == path {
				r.Stats = stats
			}
		}
	case protection:
		if p, ok := parseProtection(text); ok {
			return func(r *Report) { r.Protection = p }
		}
	case columns:
		if names := parseColumns(text); names != nil {
			return func(r *Report) { r.Columns = names }
		}
	case summary:
		return func(r *Report) { parseSummary(r, text) }
	}
	return nil
}

func (r *Report) counter(k kind) **Counter {
	switch k {
	case memsw:
		return &r.MemSw
	case swap:
		return &r.Swap
	case kmem:
		return &r.Kmem
	}
	return &r.Memory
}

// takeShared adds a line to the open report that others print as well.
func (a *Assembler) takeShared(k kind, text string) bool {
	r := a.current
	switch k {
	case trace:
		h, ok := parseTrace(text)
		// Another CPU may have printed its own trace in between.
		if t := r.Trigger; ok && t != nil && t.PID == 0 && strings.TrimSpace(t.Name) == h.name {
			t.PID, t.CPU, r.Kernel = h.pid, &h.cpu, h.kernel
			return true
		}
		return false
	case row:
		t, ok := parseRow(text, a.layout)
		// A second row of a pid comes from a log that was doubled.
		if before, again := a.pids[t.PID]; ok && again {
			r.Mixed = r.Mixed || r.Tasks[before].RSS != t.RSS || r.Tasks[before].Name != t.Name
		} else if ok && len(r.Tasks) < maxRows {
			if a.pids == nil {
				a.pids = make(map[int]int)
			}
			a.pids[t.PID] = len(r.Tasks)
			r.Tasks = append(r.Tasks, t)
		}
		return ok
	case machine:
		if r.Machine == nil {
			r.Machine = &Machine{}
		}
		return parseMachine(r.Machine, text)
	}
	return true
}

// takeStat adds a line that only its place gives a meaning.
func (a *Assembler) takeStat(text string) bool {
	r := a.current
	switch a.section {
	case statsHead:
		s, ok := parseStat(text)
		if before, again := r.Stats.Get(s.Name); ok && again {
			r.Mixed = r.Mixed || before != s.Value
		} else if ok && len(r.Stats) < maxLines {
			r.Stats = append(r.Stats, s)
		}
		return ok
	case memInfoHead:
		s := parseMemInfo(text)
		if len(r.MemInfo) < maxLines {
			r.MemInfo = append(r.MemInfo, s...)
		}
		return s != nil
	}
	return false
}

// takeEarly keeps the size of the machine for a report whose beginning the log
// has lost.
func (a *Assembler) takeEarly(text string) bool {
	if a.early == nil || a.earlyAge >= maxLines {
		a.early = &Machine{}
	}
	a.earlyAge = 0
	return parseMachine(a.early, text)
}
