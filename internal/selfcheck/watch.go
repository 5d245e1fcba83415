package selfcheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/oomreport"
)

// Kill is one killed process of an arena, as the kernel's log has it.
type Kill struct {
	PID int `json:"pid"`
	// Order is the kill's place among all that this run has seen.
	Order int `json:"order"`
	// Uptime is printk's time since boot.
	Uptime time.Duration `json:"uptimeNanoseconds"`
	// Report is nil where the kernel's rate limit withheld it, and in the second
	// and further kills of a group.
	Report *oomreport.Report `json:"report,omitempty"`
}

// watch reads the kernel's log and remembers the kills of the pids in question.
type watch struct {
	kmsg *evidence.Kmsg
	done chan struct{}

	mu      sync.Mutex
	kills   map[int]*Kill // by pid; nil: not killed so far
	order   int
	changed chan struct{} // closed and replaced at each kill
	err     error
}

func newWatch(ctx context.Context) (*watch, error) {
	kmsg, err := evidence.OpenKmsg()
	if err != nil {
		return nil, err
	}
	w := &watch{kmsg: kmsg, done: make(chan struct{}), kills: map[int]*Kill{}, changed: make(chan struct{})}
	go w.read(ctx)
	return w, nil
}

func (w *watch) read(ctx context.Context) {
	defer close(w.done)
	var assembler oomreport.Assembler
	for {
		line, err := w.kmsg.Read(ctx)
		if err != nil {
			w.mu.Lock()
			if ctx.Err() == nil {
				w.err = err
			}
			close(w.changed)
			w.mu.Unlock()
			return
		}
		for _, event := range assembler.Push(line) {
			if event.Kind == oomreport.Killed && event.Kill.Times == 1 {
				w.note(event.Report, event.Kill)
			}
		}
	}
}

func (w *watch) note(report *oomreport.Report, kill *oomreport.Kill) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ours := w.kills[kill.PID]; !ours {
		return
	}
	w.order++
	k := &Kill{PID: kill.PID, Order: w.order, Uptime: kill.At.Uptime}
	if v := report.Victim; v != nil && v.PID == kill.PID {
		// The assembler goes on with its own; this one stays as it is.
		whole := *report
		whole.Kills, whole.Reaped = nil, nil
		k.Report = &whole
	}
	w.kills[kill.PID] = k
	close(w.changed)
	w.changed = make(chan struct{})
}

// expect makes pid one of those in question.
func (w *watch) expect(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kills[pid] = nil
}

func (w *watch) forget(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.kills, pid)
}

// errUnseen says that the kernel's log lacks a kill.
var errUnseen = errors.New("the kernel's log lacks the kill")

// of waits until the log has the kill of pid.
func (w *watch) of(ctx context.Context, pid int) (Kill, error) {
	ctx, cancel := context.WithTimeout(ctx, logDelay)
	defer cancel()
	for {
		w.mu.Lock()
		kill, changed, err := w.kills[pid], w.changed, w.err
		w.mu.Unlock()
		switch {
		case kill != nil:
			return *kill, nil
		case err != nil:
			return Kill{}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Kill{}, fmt.Errorf("%w of process %d", errUnseen, pid)
		}
	}
}

// logDelay bounds the wait for a line that was logged before the process died.
const logDelay = 2 * time.Second

// close ends the watch, whose context must be done, and returns how many
// records of the log were lost.
func (w *watch) close() (lost uint64, err error) {
	<-w.done
	return w.kmsg.Lost(), errors.Join(w.err, w.kmsg.Close())
}
