package oomreport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// kind is what a line of the kernel log says, in the order in which one run of
// the OOM killer prints its lines (mm/oom_kill.c, dump_header to
// oom_kill_process).
type kind uint8

const (
	other kind = iota
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

const (
	headerMark  = " invoked oom-killer:"
	killedMark  = "Killed process "
	panicMark   = "Kernel panic - not syncing: "
	groupSuffix = " are going to be killed due to memory.oom.group set"
)

// prefixes of lines that need no closer look.
var prefixes = []struct {
	text string
	kind kind
}{
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
	case strings.HasPrefix(s, "Task in ") && strings.Contains(s, " killed as a result of limit of "):
		return taskIn
	case strings.HasSuffix(s, " pages RAM"), strings.HasSuffix(s, " pages reserved"):
		return machine
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

// parseHeader reads the first line of a report. What a cut line lacks stays
// absent.
func parseHeader(s string) *Trigger {
	name, rest, _ := strings.Cut(s, headerMark)
	t := &Trigger{}
	if len(name) <= maxName { // else a prefix that splitLine does not know
		t.Name = name
	}
	if mask, ok := value(rest, "gfp_mask="); ok {
		t.GFPMask, t.GFPFlags, _ = strings.Cut(mask, "(")
		t.GFPFlags = strings.TrimSuffix(t.GFPFlags, ")")
	}
	if n, ok := number[int](rest, "order="); ok {
		t.Order = &n
	}
	if n, ok := number[int](rest, "oom_score_adj="); ok {
		t.OOMScoreAdj = &n
	}
	return t
}

// traceHeader is the first line of a stack trace (dump_stack_print_info).
type traceHeader struct {
	cpu, pid int
	name     string
	kernel   string
}

func parseTrace(s string) (h traceHeader, ok bool) {
	h.cpu, ok = number[int](s, "CPU: ")
	if !ok {
		return h, false
	}
	if h.pid, ok = number[int](s, " PID: "); !ok {
		return h, false
	}
	_, rest, ok := strings.Cut(s, " Comm: ")
	if !ok {
		return h, false
	}
	// "Kdump: loaded", "Not tainted" and "Tainted: G W" follow the name.
	end := len(rest)
	for _, mark := range []string{" Kdump: ", " Not tainted", " Tainted: "} {
		if i := strings.LastIndex(rest, mark); i >= 0 && i < end {
			end = i
		}
	}
	h.name = strings.TrimSpace(rest[:end])
	for _, word := range strings.Fields(rest[end:]) {
		if isRelease(word) {
			h.kernel = word
			break
		}
	}
	return h, true
}

// isRelease says whether a word looks like a kernel release: "6.1.1-arch1-1".
func isRelease(s string) bool {
	major, rest, ok := strings.Cut(s, ".")
	return ok && isDigits(major) && rest != "" && rest[0] >= '0' && rest[0] <= '9'
}

// parseCounter reads "memory: usage 65536kB, limit 65536kB, failcnt 85".
func parseCounter(s string) (*Counter, bool) {
	usage, ok1 := kib(s, "usage ")
	limit, ok2 := kib(s, "limit ")
	failcnt, ok3 := number[uint64](s, "failcnt ")
	return &Counter{Usage: usage, Limit: counterLimit(limit), Failcnt: failcnt}, ok1 && ok2 && ok3
}

// counterLimit tells "no limit" from a limit. The kernel prints the largest
// value of its counter: LONG_MAX bytes in whole pages, of 4 KiB to 64 KiB; on
// 32-bit machines LONG_MAX pages; before 3.19 ULLONG_MAX or LLONG_MAX bytes.
func counterLimit(b mem.Bytes) mem.Limit {
	const (
		max64 = (1<<63 - 1<<16)
		max32 = (1<<31 - 1) << 12
	)
	if b >= max64 || b == max32 {
		return mem.Max
	}
	return mem.LimitOf(b)
}

// parseStatsHead reads "Memory cgroup stats for /path:". Before Linux 5.1 the
// statistics follow in the same line: "cache:844KB rss:521136KB".
func parseStatsHead(s string) (path string, stats Stats) {
	words := strings.Fields(strings.TrimPrefix(s, "Memory cgroup stats for "))
	for i := len(words) - 1; i >= 0; i-- {
		name, amount, ok := strings.Cut(words[i], ":")
		if !ok || !strings.HasSuffix(amount, "KB") {
			path = strings.Join(words[:i+1], " ")
			break
		}
		if n, ok := kib(amount, ""); ok {
			stats = append(stats, Stat{name, int64(n)})
		}
	}
	slices.Reverse(stats)
	return strings.TrimSuffix(path, ":"), stats
}

func parseProtection(s string) (*Protection, bool) {
	least, ok := kib(s, "min protection ")
	low, ok2 := kib(s, "low protection ")
	return &Protection{Min: least, Low: low}, ok && ok2
}

// parseStat reads "pgfault 16330".
func parseStat(s string) (Stat, bool) {
	name, rest, ok := strings.Cut(strings.TrimSpace(s), " ")
	n, ok2 := number[int64](rest, "")
	if !ok || !ok2 || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
		return Stat{}, false
	}
	return Stat{name, n}, true
}

// parseMemInfo reads "active_anon:1413442 inactive_anon:1509191".
func parseMemInfo(s string) Stats {
	var stats Stats
	for _, word := range strings.Fields(s) {
		name, text, ok := strings.Cut(word, ":")
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return nil
		}
		stats = append(stats, Stat{name, n})
	}
	return stats
}

// parseSummary reads the oom-kill: line into the report. Paths and names may
// hold commas and equal signs, so the line is taken apart from its end. Of a
// line that is cut, only what is certainly whole is kept.
func parseSummary(r *Report, s string) {
	rest := strings.TrimPrefix(s, "oom-kill:")
	field := func(key string) string {
		_, v, _ := strings.Cut(rest, key)
		v, _, _ = strings.Cut(v, ",")
		return v
	}
	r.Constraint = Constraint(field("constraint="))
	r.Nodemask, r.Cpuset = field("nodemask="), field(",cpuset=")
	if _, v, ok := strings.Cut(rest, ",mems_allowed="); ok {
		// A list of nodes has commas of its own: 0-1,4.
		end := strings.IndexFunc(v, func(c rune) bool { return !strings.ContainsRune("0123456789-,", c) })
		if end < 0 {
			end = len(v)
		}
		r.MemsAllowed = strings.TrimRight(v[:end], ",")
	}
	if _, v, ok := strings.Cut(rest, ",oom_memcg="); ok {
		if path, _, whole := strings.Cut(v, ",task_memcg="); whole {
			r.Domain = path
		}
	} else if strings.Contains(rest, ",global_oom") {
		r.Global = true
	}
	r.Victim = parseVictim(rest)
}

// parseVictim reads "task_memcg=/a,task=stress,pid=1122,uid=0", nil where that
// is cut. 4.19 and 5.0 can lack task_memcg.
func parseVictim(s string) *Victim {
	i := strings.LastIndex(s, ",uid=")
	j := strings.LastIndex(s[:max(i, 0)], ",pid=")
	if j < 0 {
		return nil
	}
	uid, ok1 := number[uint32](s[i:], ",uid=")
	pid, ok2 := number[int](s[j:], ",pid=")
	if !ok1 || !ok2 {
		return nil
	}
	// The name is what follows the first ",task=" that leaves no more than a
	// name can be long.
	const task = ",task="
	for at := max(j-maxName-len(task), 0); at < j; at++ {
		if strings.HasPrefix(s[at:j], task) {
			_, memcg, _ := strings.Cut(s[:at], ",task_memcg=")
			return &Victim{Memcg: memcg, Name: s[at+len(task) : j], PID: pid, UID: &uid}
		}
	}
	return nil
}

// maxName is the length of the longest process name (TASK_COMM_LEN - 1).
const maxName = 15

// parseSelection reads "Kill process 1381 (name) score 1046 or sacrifice child".
func parseSelection(s string) *Victim {
	_, rest, _ := cutMessage(s)
	pid, ok := number[int](rest, "Kill process ")
	name, after, ok2 := cutName(rest, ") score ")
	score, ok3 := number[int](after, "")
	if !ok || !ok2 {
		return nil
	}
	v := &Victim{PID: pid, Name: name}
	if ok3 {
		v.Score = &score
	}
	return v
}

// parseKill reads a "Killed process" line of any kernel since 3.10.
func parseKill(s string) *Kill {
	message, rest, _ := cutMessage(s)
	pid, ok := number[int](rest, killedMark)
	// Red Hat's 3.10 has "Killed process 2153, UID 48, (httpd) total-vm:…".
	name, sizes, ok2 := cutName(rest, ") total-vm:")
	if !ok || !ok2 {
		return nil
	}
	sizes = "total-vm:" + sizes
	k := &Kill{Message: message, PID: pid, Name: name, Times: 1}
	var ok3, ok4, ok5 bool
	k.TotalVM, ok3 = kib(sizes, "total-vm:")
	k.AnonRSS, ok4 = kib(sizes, "anon-rss:")
	k.FileRSS, ok5 = kib(sizes, "file-rss:")
	if !ok3 || !ok4 || !ok5 {
		return nil
	}
	if n, ok := kib(sizes, "shmem-rss:"); ok {
		k.ShmemRSS = &n
	}
	if n, ok := kib(sizes, "pgtables:"); ok {
		k.Pgtables = &n
	}
	if n, ok := number[uint32](sizes, "UID:"); ok {
		k.UID = &n
	} else if n, ok := number[uint32](rest[:len(rest)-len(sizes)], ", UID "); ok {
		k.UID = &n
	}
	if n, ok := number[int](sizes, "oom_score_adj:"); ok {
		k.OOMScoreAdj = &n
	}
	return k
}

// parseExiting reads "OOM victim 12 (name) is already exiting".
func parseExiting(s string) (Process, bool) {
	_, rest, _ := cutMessage(s)
	pid, ok := number[int](rest, "OOM victim ")
	name, _, ok2 := cutName(rest, ") is already exiting")
	return Process{pid, name}, ok && ok2
}

// parseReaped reads an "oom_reaper: reaped process" line.
func parseReaped(s string) (Reaped, bool) {
	pid, ok := number[int](s, "reaped process ")
	name, sizes, ok2 := cutName(s, "), now ")
	r := Reaped{Process: Process{pid, name}}
	var ok3, ok4, ok5 bool
	r.AnonRSS, ok3 = kib(sizes, "anon-rss:")
	r.FileRSS, ok4 = kib(sizes, "file-rss:")
	r.ShmemRSS, ok5 = kib(sizes, "shmem-rss:")
	return r, ok && ok2 && ok3 && ok4 && ok5
}

// cutName returns the name in parentheses before the last end, and what
// follows. A name may hold parentheses itself: "((sd-pam)) total-vm:".
func cutName(s, end string) (name, rest string, ok bool) {
	i := strings.Index(s, "(")
	j := strings.LastIndex(s, end)
	if i < 0 || j <= i {
		return "", "", false
	}
	return s[i+1 : j], s[j+len(end):], true
}
