package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/reconcile"
	"github.com/oomlab/oomlab/internal/record"
)

// Recorder watches a node from outside while memory runs out there: the
// kernel's log tells each kill, its trace when it was decided, the census whose
// it was, the cgroups how many.
type Recorder struct {
	Census *Census

	hierarchy Hierarchy
	node      reconcile.Node
	kmsg      *Kmsg // nil where it may not be read, for the reason noKmsg
	noKmsg    error
	// unclaimed is touched by readKmsg alone, until it is done.
	unclaimed []reconcile.Line
	traces    []*tracer // none where there is no trace, for the reason traceErr
	traceErr  error
	cancel    context.CancelFunc
	readers   sync.WaitGroup
	killed    chan record.Kill
	marked    func()

	// losing says that the next kill's records are to be lost.
	losing atomic.Bool

	mu    sync.Mutex
	kills []record.Kill
	// threads are the processes of threads that were seen.
	threads map[int]int
	// suppressed counts the times at which the kernel said that its rate limit
	// had withheld reports.
	suppressed int
	kmsgErr    error
	// tasks are the processes before the pressure, by pid.
	tasks    map[int]oom.Task
	pageSize mem.Bytes
}

// Record starts watching the cgroup root and everything below it. The owner of
// a cgroup is asked of the lab. Where there is a trace, marked is called as soon
// as the kernel has chosen a victim on the node, before the kill itself is
// delivered, by one of two threads that nobody keeps waiting, perhaps by both at
// once. Stop must be called.
func (h Hierarchy) Record(ctx context.Context, root string, owner func(cgroup string) record.Owner, marked func()) (*Recorder, error) {
	reserveProcessors()
	boot, err := bootTime()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Recorder{
		hierarchy: h, node: reconcile.Node{Root: root, Boot: boot, Owner: owner}, cancel: cancel,
		killed: make(chan record.Kill, 1024), marked: marked, threads: map[int]int{},
	}
	r.kmsg, r.noKmsg = OpenKmsg()
	traces, err := OpenTraces()
	for _, t := range traces {
		r.traces = append(r.traces, &tracer{Trace: t})
	}
	r.traceErr = err
	if r.Census, err = h.TakeCensus(ctx, root); err != nil {
		cancel()
		return nil, errors.Join(err, r.closeKmsg(), r.closeTraces())
	}
	if r.kmsg != nil {
		r.readers.Go(func() { r.readKmsg(ctx) })
	} else {
		r.readers.Go(func() { r.readCounters(ctx) })
	}
	for _, t := range r.traces {
		r.readers.Go(func() { r.readTrace(ctx, t) })
	}
	return r, nil
}

func (r *Recorder) closeKmsg() error {
	if r.kmsg == nil {
		return nil
	}
	return r.kmsg.Close()
}

// bootTime returns the wall-clock time at which CLOCK_MONOTONIC was zero. The
// printk clock is within milliseconds of it at first, and drifts.
func bootTime() (time.Time, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Time{}, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Now().Add(-time.Duration(ts.Nano())), nil
}

// preferThisThread gives the calling thread the lowest real-time priority, or
// where that is refused the best ordinary one, or nothing. Children and new
// threads don't inherit it.
func preferThisThread() {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if unix.SchedSetAttr(0, &attr, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -20)
	}
}

// reserveProcessors lets more threads run Go code at a time than there are CPUs.
// A thread that returns from a system call waits for its turn otherwise, behind
// threads that hold theirs while the machine lets them wait.
var reserveProcessors = sync.OnceFunc(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 4) })

func (r *Recorder) readKmsg(ctx context.Context) {
	// What is observed must not keep its observer waiting. The thread is never
	// unlocked, so that it ends with this goroutine, and its priority too.
	runtime.LockOSThread()
	preferThisThread()
	var assembler oomreport.Assembler
	var open *oomreport.Report
	for {
		line, err := r.kmsg.Read(ctx)
		if err == nil && r.losing.CompareAndSwap(true, false) {
			err = r.kmsg.Lose(ctx, func(lost oomreport.Record) bool { return r.isKillHere(lost) })
			assembler = oomreport.Assembler{}
		}
		if err != nil {
			if ctx.Err() == nil {
				r.mu.Lock()
				r.kmsgErr = err
				r.mu.Unlock()
			}
			return
		}
		if strings.HasSuffix(line.Text, " callbacks suppressed") && strings.Contains(line.Text, "oom") {
			r.mu.Lock()
			r.suppressed++
			r.mu.Unlock()
		}
		for _, event := range assembler.Push(line) {
			open = event.Report
			if event.Kind == oomreport.Killed && event.Kill.Times == 1 {
				r.note(event.Report, event.Kill)
			}
		}
		r.findTriggerProcess(open)
	}
}

// findTriggerProcess finds out whose thread it was that was allocating. It is
// alive while it prints the report, but perhaps no more when the line is read.
func (r *Recorder) findTriggerProcess(report *oomreport.Report) {
	if report == nil || report.Trigger == nil || report.Trigger.PID == 0 || report.Trigger.TGID != 0 {
		return
	}
	report.Trigger.TGID, _ = r.processOf(report.Trigger.PID)
}

// processOf returns the process of a thread, which may have ended meanwhile.
func (r *Recorder) processOf(thread int) (pid int, known bool) {
	if pid, err := processOf(thread); err == nil {
		return pid, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, known = r.threads[thread]
	return pid, known
}

// NoteThreads remembers whose threads there are now.
func (r *Recorder) NoteThreads() {
	for _, m := range r.Census.Alive() {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", m.PID))
		if err != nil {
			continue // it has just ended
		}
		r.mu.Lock()
		for _, thread := range threads {
			if tid, err := strconv.Atoi(thread.Name()); err == nil {
				r.threads[tid] = m.PID
			}
		}
		r.mu.Unlock()
	}
}

// LoseNextKill makes the recorder miss the kernel's lines about the next kill on
// this node: sabotage, for the control that says whether it would be noticed.
func (r *Recorder) LoseNextKill() { r.losing.Store(true) }

func (r *Recorder) isKillHere(line oomreport.Record) bool {
	var assembler oomreport.Assembler
	for _, event := range assembler.Push(line) {
		if event.Kind == oomreport.Killed {
			_, here := r.Census.Find(event.Kill.PID)
			return here
		}
	}
	return false
}

// note takes one kill from the kernel's log, if it is one of this node's. Of a
// process whose first thread has given up its memory already, the kernel kills
// and names another one (find_lock_task_mm, mm/oom_kill.c), as in group kills.
func (r *Recorder) note(report *oomreport.Report, kill *oomreport.Kill) {
	pid := kill.PID
	if process, known := r.processOf(pid); known {
		pid = process
	}
	m, _ := r.Census.Find(pid)
	line := reconcile.Line{Report: report, Kill: kill, Recorded: time.Now()}
	k, ours := reconcile.Attribute(r.node, line, reconcile.Process{Cgroup: m.Cgroup, Main: m.Main})
	k.PID = pid
	if !ours && report.Bare() {
		r.unclaimed = append(r.unclaimed, line)
	}
	if !ours {
		return
	}
	r.mu.Lock()
	if n := len(r.kills); n > 0 {
		reconcile.JoinGroup(r.kills[n-1], &k)
	}
	if slices.ContainsFunc(r.kills, func(before record.Kill) bool { return before.PID == pid && reconcile.SameDecision(before, k) }) {
		r.threads[kill.PID] = pid // the same process once more, by another of its threads
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	k.Group = k.Report.GroupKill != ""
	r.deliver(k)
}

// deliver gives a kill its place after those before it.
func (r *Recorder) deliver(k record.Kill) {
	r.mu.Lock()
	k.Order, k.Decision = len(r.kills)+1, 1
	if n := len(r.kills); n > 0 {
		k.Decision = r.kills[n-1].Decision
		if !reconcile.SameDecision(r.kills[n-1], k) {
			k.Decision++
		}
	}
	r.kills = append(r.kills, k)
	r.mu.Unlock()
	r.killed <- k
}

// Killed delivers each kill as soon as the kernel has logged it.
func (r *Recorder) Killed() <-chan record.Kill { return r.killed }

// Seen returns the kills so far.
func (r *Recorder) Seen() []record.Kill {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kills)
}

// Uncharged notes when a victim's memory was given back.
func (r *Recorder) Uncharged(order int, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kills[order-1].Uncharged = &at
}

// Stop ends the watch and returns what was seen, but for the pods, and how well
// each source could see. Its error says that one failed, so that something may
// be lacking.
func (r *Recorder) Stop() (reconcile.Witnesses, []record.Source, error) {
	r.cancel()
	r.readers.Wait()
	marks, scores := r.traced()
	sources := r.sources()
	w := reconcile.Witnesses{
		Node: r.node, Logged: r.kills, Unclaimed: r.unclaimed, LogLost: sources[0].Lost, Withheld: r.suppressed, Marks: marks, Scores: scores,
		Counted: r.Census.Kills(), Processes: r.Census.Processes(), Threads: r.threads,
	}
	return w, sources, errors.Join(r.closeKmsg(), r.kmsgErr, r.closeTraces(), r.Census.Err())
}

// sources says how well each source could see.
func (r *Recorder) sources() []record.Source {
	log, trace, scores := record.Source{Name: reconcile.Kmsg}, record.Source{Name: reconcile.Trace}, record.Source{Name: reconcile.Scores}
	if r.kmsg != nil {
		log.Lost = r.kmsg.Lost()
	} else {
		log.Error = r.noKmsg.Error()
	}
	if r.traceErr != nil {
		trace.Error, scores.Error = r.traceErr.Error(), r.traceErr.Error()
	}
	for _, t := range r.traces {
		trace.Lost += t.Lost() // of whatever event
		if err := t.NoScores(); err != nil {
			scores.Error = err.Error()
		}
	}
	return []record.Source{log, trace, {Name: reconcile.Cgroup}, scores}
}
