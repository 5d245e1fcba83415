package selfcheck

import (
	"sync"

	"github.com/oomlab/oomlab/internal/evidence"
)

// trace remembers which processes the kernel has marked as victims.
type trace struct {
	*evidence.Trace

	mu     sync.Mutex
	marked map[int]bool
}

func newTrace() (*trace, error) {
	t, err := evidence.OpenTrace()
	if err != nil {
		return nil, err
	}
	return &trace{Trace: t, marked: map[int]bool{}}, nil
}

// isMarked reports whether the process was chosen as a victim.
func (t *trace) isMarked(pid int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drain()
	return t.marked[pid]
}

// forget makes room for another process of that number.
func (t *trace) forget(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drain()
	delete(t.marked, pid)
}

func (t *trace) drain() {
	marks, _ := t.Take()
	for _, m := range marks {
		t.marked[m.PID] = true
	}
}
