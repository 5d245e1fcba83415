// Package reconcile puts together what several witnesses saw of the kills on a
// node: the kernel's log, its trace, the counters of the cgroups, the census of
// processes, and the runtime. The result is one record per killed process, and a
// name for everything that they disagree about. docs/evidence.md explains the
// names.
package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// The witnesses, as a kill's Sources name them.
const (
	Kmsg    = "kmsg"    // the line "Killed process"
	Trace   = "trace"   // the event oom:mark_victim
	Cgroup  = "cgroup"  // the counter oom_kill of the victim's own cgroup
	Runtime = "runtime" // the reason OOMKilled
)

// Scores is the source that tells of no kills, but of the scores that were
// written: the event oom:oom_score_adj_update.
const Scores = "scores"

// Node is the node that the witnesses watched.
type Node struct {
	// Root is its memory cgroup: kills elsewhere are none of its kills.
	Root string
	// Boot is the wall-clock time at which CLOCK_MONOTONIC was zero.
	Boot time.Time
	// Owner says whose a memory cgroup is, or was.
	Owner func(cgroup string) record.Owner
}

// Line is a line "Killed process" of the kernel's log. The report is never nil;
// where the rate limit withheld it, it has nothing but the line.
type Line struct {
	Report *oomreport.Report
	Kill   *oomreport.Kill
	// Recorded is when it was read.
	Recorded time.Time
}

// Mark is one oom:mark_victim: the kernel has chosen the process. A mark without
// a line is no kill if the process was exiting anyway (task_will_free_mem,
// mm/oom_kill.c).
type Mark struct {
	PID int
	// Uptime is the time on CLOCK_MONOTONIC.
	Uptime time.Duration
	// Recorded is when it was read.
	Recorded time.Time
}

// Process is a process that the census has met, dead or alive.
type Process struct {
	Cgroup string
	// Main says that it is the first process of its container.
	Main bool
	// Started is when it was, on CLOCK_BOOTTIME, to 10 ms.
	Started time.Duration
}

// Witnesses is what was seen from before the pressure to the end.
type Witnesses struct {
	Node
	// Logged are the kills of the kernel's log in its order, as Attribute
	// returned them. LogLost is how many records of the log were lost. Withheld
	// is how often the kernel said that its rate limit had withheld reports.
	Logged   []record.Kill
	LogLost  uint64
	Withheld int
	// Unclaimed are lines without a report about processes that the census had
	// not met by then.
	Unclaimed []Line
	// Marks are those of the whole machine.
	Marks []Mark
	// Counted is how many kills each cgroup counted. One that is missing here
	// may have vanished with its count.
	Counted map[string]int
	// Processes are those of the node, by pid.
	Processes map[int]Process
	// Threads are the pids of processes by those of their threads: the kernel may
	// name any of them.
	Threads map[int]int
	// Scores are the writes of oom_score_adj on the whole machine, in their order.
	// ScoresBefore is what the snapshot of the forecast has, by pid.
	Scores       []ScoreWrite
	ScoresBefore map[int]int
	// Before and After are the pods as the runtime told. Without one the lab
	// tells, and is no witness of its own.
	Before, After []record.Pod
	NoRuntime     bool
}

// process returns the process that the kernel calls by that pid.
func (w Witnesses) process(pid int) int {
	if process, known := w.Threads[pid]; known {
		return process
	}
	return pid
}

// Result is what the witnesses say together.
type Result struct {
	Kills    []record.Kill
	Scores   []record.ScoreWrite
	Findings []record.Finding
}

// Attribute turns a line of the kernel's log into a kill, and says whose it is:
// by the report, or where that was withheld by what the census knows of the
// process, nothing if it has not met it. It returns false for a kill on another
// node. The report may still grow.
func Attribute(n Node, l Line, p Process) (record.Kill, bool) {
	k := record.Kill{
		Time: n.Boot.Add(l.Kill.At.Uptime), PID: l.Kill.PID, Name: l.Kill.Name,
		Freed: l.Kill.AnonRSS + l.Kill.FileRSS, Sources: []string{Kmsg},
		OOMCgroup: l.Report.Domain, Report: l.Report, TaskCgroup: p.Cgroup, Main: p.Main, Recorded: &l.Recorded,
	}
	if l.Kill.ShmemRSS != nil {
		k.Freed += *l.Kill.ShmemRSS
	}
	if l.Kill.OOMScoreAdj != nil {
		k.OOMScoreAdj = *l.Kill.OOMScoreAdj
	}
	if v := l.Report.Victim; v != nil && v.PID == k.PID && v.Memcg != "" {
		k.TaskCgroup = v.Memcg
	}
	if !Within(k.TaskCgroup, n.Root) && !Within(k.OOMCgroup, n.Root) {
		return k, false
	}
	k.Owner = n.Owner(k.TaskCgroup)
	if l.Report.Global {
		k.OOMLevel = qos.LevelGlobal
	} else if k.OOMCgroup != "" {
		k.OOMLevel = n.Owner(k.OOMCgroup).Level
	}
	return k, true
}

// Within reports whether path is root or below it.
func Within(path, root string) bool {
	return path == root || strings.HasPrefix(path, strings.TrimSuffix(root, "/")+"/")
}

// Reconcile puts the witnesses' accounts together.
func Reconcile(w Witnesses) Result {
	var r Result
	r.Kills = slices.Clone(w.Logged)
	for _, l := range w.Unclaimed {
		if k, ours := Attribute(w.Node, l, w.Processes[l.Kill.PID]); ours {
			r.insert(k)
		}
	}
	for i := range r.Kills {
		// A container that dies as it is started has its name in the end alone.
		if k := &r.Kills[i]; k.Owner.Level == qos.LevelContainer && k.Owner.Container == "" {
			k.Owner = w.Owner(k.TaskCgroup)
		}
	}
	w.addMarks(&r)
	number(r.Kills)
	w.addRuntime(&r, w.addCounts(&r))
	w.addRestarts(&r)
	w.addScores(&r)
	r.find(needless(r.Kills)...)
	if w.Withheld > 0 {
		r.find(record.Finding{Name: "reports-suppressed", Text: fmt.Sprintf(
			"the kernel's rate limit withheld OOM reports %d times, this node's or others'; the kills themselves are known all the same", w.Withheld)})
	}
	for i := range r.Kills {
		k := &r.Kills[i]
		if k.Report != nil && k.Report.Bare() {
			k.Report = nil
		}
	}
	return r
}

func (r *Result) find(f ...record.Finding) { r.Findings = append(r.Findings, f...) }

// number gives each kill its place, and the processes of one group kill, which
// have one report, the same decision.
func number(kills []record.Kill) {
	decision := 0
	for i := range kills {
		k := &kills[i]
		if i > 0 {
			JoinGroup(kills[i-1], k)
		}
		if i == 0 || !SameDecision(kills[i-1], *k) {
			decision++
		}
		k.Order, k.Decision = i+1, decision
		k.Group = k.Group || k.Report != nil && k.Report.GroupKill != ""
	}
}

// JoinGroup gives a kill whose line came too late for the report of a group kill
// that report, if the one before has it and the process was in that cgroup. The
// kernel holds oom_lock until all of a group are killed (mm/oom_kill.c): no kill
// of another decision comes in between, however long it takes.
func JoinGroup(before record.Kill, k *record.Kill) {
	if k.Report == nil || !k.Report.Bare() || before.Report == nil || before.Report.GroupKill == "" {
		return
	}
	if Within(k.TaskCgroup, before.Report.GroupKill) {
		k.Report, k.Group = before.Report, true
	}
}

// SameDecision says that two kills that follow each other are of one group: they
// have one report, or where there are none, one cgroup that dies as a whole.
func SameDecision(a, b record.Kill) bool {
	if a.Report == nil && b.Report == nil {
		return a.Group && b.Group && a.TaskCgroup == b.TaskCgroup
	}
	return a.Report == b.Report
}
