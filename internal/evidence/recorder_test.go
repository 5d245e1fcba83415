package evidence

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/reconcile"
	"github.com/oomlab/oomlab/internal/record"
)

// The kernel names the thread that was allocating; whose it is /proc tells, or
// after its end what was noted before.
func TestFindTriggerProcess(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const ended = 1 << 22 // above any pid
	r := &Recorder{threads: map[int]int{ended + 1: 77}}
	for tid, want := range map[int]int{unix.Gettid(): os.Getpid(), os.Getpid(): os.Getpid(), ended + 1: 77, ended + 2: 0} {
		report := &oomreport.Report{Trigger: &oomreport.Trigger{PID: tid}}
		r.findTriggerProcess(report)
		if got := report.Trigger.TGID; got != want {
			t.Errorf("thread %d is of process %d, want %d", tid, got, want)
		}
	}
	r.findTriggerProcess(nil)
	r.findTriggerProcess(&oomreport.Report{})
}

// The kernel may kill one process of a group twice, and name its threads. It is
// one kill, of the process.
func TestKillsOfThreads(t *testing.T) {
	const dead = 1 << 22 // above any pid
	cgroup := "/node/pod"
	r := &Recorder{
		node:    reconcile.Node{Root: "/node", Owner: func(string) record.Owner { return record.Owner{Pod: "p"} }},
		Census:  &Census{root: "/node", members: map[int]Member{dead: {PID: dead, Cgroup: cgroup, Main: true}, dead + 5: {PID: dead + 5, Cgroup: cgroup}}},
		threads: map[int]int{dead: dead, dead + 1: dead, dead + 2: dead}, killed: make(chan record.Kill, 9),
	}
	report := &oomreport.Report{Domain: cgroup, GroupKill: cgroup}
	for _, pid := range []int{dead + 1, dead + 5, dead + 2, dead} {
		r.note(report, &oomreport.Kill{PID: pid, Times: 1})
	}
	kills := r.Seen()
	if len(kills) != 2 || kills[0].PID != dead || !kills[0].Main || kills[1].PID != dead+5 || kills[1].Order != 2 || len(r.killed) != 2 {
		t.Errorf("kills: %+v", kills)
	}
	// Another decision may kill what is there by then.
	r.note(&oomreport.Report{Domain: cgroup}, &oomreport.Kill{PID: dead, Times: 1})
	if kills := r.Seen(); len(kills) != 3 || kills[2].Decision != 2 {
		t.Errorf("kills: %+v", kills)
	}
}
