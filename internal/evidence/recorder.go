package evidence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/record"
)

// Recorder watches a node from outside while memory runs out there: the
// kernel's log tells each kill, the census whose it was, the cgroups how many.
type Recorder struct {
	Census *Census

	owner  func(cgroup string) record.Owner
	root   string
	boot   time.Time // wall-clock time of the printk clock's zero
	kmsg   *Kmsg
	cancel context.CancelFunc
	done   chan struct{}
	killed chan record.Kill

	mu    sync.Mutex
	kills []record.Kill
	// suppressed counts the times at which the kernel said that its rate limit
	// had withheld reports.
	suppressed int
	kmsgErr    error
}

// Record starts watching the cgroup root and everything below it. The owner of
// a cgroup is asked of the lab. Stop must be called.
func (h Hierarchy) Record(ctx context.Context, root string, owner func(cgroup string) record.Owner) (*Recorder, error) {
	boot, err := printkEpoch()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Recorder{
		owner: owner, root: root, boot: boot, cancel: cancel,
		done: make(chan struct{}), killed: make(chan record.Kill, 1024),
	}
	if r.kmsg, err = OpenKmsg(); err != nil {
		cancel()
		return nil, err
	}
	if r.Census, err = h.TakeCensus(ctx, root); err != nil {
		cancel()
		return nil, errors.Join(err, r.kmsg.Close())
	}
	go r.readKmsg(ctx)
	return r, nil
}

// printkEpoch returns the wall-clock time at which the printk clock, which is
// within milliseconds of CLOCK_MONOTONIC, was zero.
func printkEpoch() (time.Time, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Time{}, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Now().Add(-time.Duration(ts.Nano())), nil
}

func (r *Recorder) readKmsg(ctx context.Context) {
	defer close(r.done)
	var assembler oomreport.Assembler
	for {
		line, err := r.kmsg.Read(ctx)
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
			if event.Kind == oomreport.Killed && event.Kill.Times == 1 {
				r.note(event.Report, event.Kill)
			}
		}
	}
}

// note takes one kill from the kernel's log, if it is one of this node's.
func (r *Recorder) note(report *oomreport.Report, kill *oomreport.Kill) {
	k := record.Kill{
		Time: r.boot.Add(kill.At.Uptime), PID: kill.PID, Name: kill.Name,
		Freed: kill.AnonRSS + kill.FileRSS, Sources: []string{"kmsg"},
		OOMCgroup: report.Domain, Group: report.GroupKill != "",
	}
	if kill.ShmemRSS != nil {
		k.Freed += *kill.ShmemRSS
	}
	if kill.OOMScoreAdj != nil {
		k.OOMScoreAdj = *kill.OOMScoreAdj
	}
	if m, ok := r.Census.Find(kill.PID); ok {
		k.TaskCgroup = m.Cgroup
	}
	if v := report.Victim; v != nil && v.PID == kill.PID && v.Memcg != "" {
		k.TaskCgroup = v.Memcg
	}
	if !within(k.TaskCgroup, r.root) && !within(k.OOMCgroup, r.root) {
		return
	}
	if !report.Bare() {
		k.Report = report
	}
	k.Owner = r.owner(k.TaskCgroup)
	if k.OOMCgroup != "" {
		k.OOMLevel = r.owner(k.OOMCgroup).Level
	}
	r.mu.Lock()
	k.Order = len(r.kills) + 1
	r.kills = append(r.kills, k)
	r.mu.Unlock()
	r.killed <- k
}

// within reports whether path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, strings.TrimSuffix(root, "/")+"/")
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

// Result is what the sources saw, put together.
type Result struct {
	Kills    []record.Kill
	Findings []record.Finding
	Sources  []record.Source
}

// Stop ends the watch and puts together what was seen. Its error says that a
// source failed, so that the result may lack something.
func (r *Recorder) Stop() (Result, error) {
	r.cancel()
	<-r.done
	err := errors.Join(r.kmsg.Close(), r.kmsgErr, r.Census.Err())
	counted := r.Census.Kills()
	result := Result{
		Kills:    r.kills,
		Findings: compareCounts(r.kills, counted, r.owner),
		Sources:  []record.Source{{Name: "kmsg", Lost: r.kmsg.Lost()}, {Name: "cgroup"}},
	}
	if r.suppressed > 0 {
		result.Findings = append(result.Findings, record.Finding{
			Name: "reports-suppressed",
			Text: fmt.Sprintf("the kernel's rate limit withheld OOM reports %d times, this node's or others'; the kills themselves are known all the same", r.suppressed),
		})
	}
	result.Findings = append(result.Findings, markNeedless(result.Kills)...)
	for i := range result.Kills {
		k := &result.Kills[i]
		if counted[k.TaskCgroup] > 0 {
			k.Sources = append(k.Sources, "cgroup")
		}
	}
	return result, err
}

// markNeedless marks the kills that came before the victim before them had
// given its memory back. The processes of one group kill die together.
func markNeedless(kills []record.Kill) []record.Finding {
	var findings []record.Finding
	for i := 1; i < len(kills); i++ {
		before, k := kills[i-1], &kills[i]
		sameDecision := k.Group && k.OOMCgroup == before.OOMCgroup
		if sameDecision || before.Uncharged == nil || !k.Time.Before(*before.Uncharged) {
			continue
		}
		k.Needless = true
		findings = append(findings, record.Finding{
			Name: "second-kill-before-release",
			Text: fmt.Sprintf("%s was killed %d ms after %s, whose %s were given back only %d ms later: a dying process is no candidate any more while its memory still counts",
				k.Owner, k.Time.Sub(before.Time).Milliseconds(), before.Owner, before.Freed.Human(), before.Uncharged.Sub(k.Time).Milliseconds()),
		})
	}
	return findings
}

// compareCounts holds the kills in the kernel's log against the counters of the
// cgroups. A cgroup may vanish with its count, so that fewer counted is not a
// contradiction, but more is.
func compareCounts(kills []record.Kill, counted map[string]int, owner func(string) record.Owner) []record.Finding {
	logged := map[string]int{}
	for _, k := range kills {
		logged[k.TaskCgroup]++
		if k.Report != nil && k.Report.GroupKill != "" {
			for _, again := range k.Report.Kills {
				if again.PID == k.PID {
					logged[k.TaskCgroup] += again.Times - 1
				}
			}
		}
	}
	var findings []record.Finding
	for _, path := range slices.Sorted(maps.Keys(counted)) {
		if counted[path] > logged[path] {
			findings = append(findings, record.Finding{
				Name: "kill-missed-by-kmsg",
				Text: fmt.Sprintf("the cgroup of %s counted %d kills, the kernel's log has %d", owner(path), counted[path], logged[path]),
			})
		}
	}
	return findings
}
