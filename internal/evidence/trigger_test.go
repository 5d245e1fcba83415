package evidence

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/oomreport"
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
