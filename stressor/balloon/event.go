package balloon

import (
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// Events writes what happens as JSON lines, such as
//
//	{"event":"reached","pid":1,"monotonicSeconds":81.502113,"wall":"2026-11-24T21:14:39.5Z",
//	 "heldBytes":157286400,"residentBytes":159383552,"verb":"fill","kind":"anon"}
//
// monotonicSeconds is CLOCK_MONOTONIC, heldBytes the level of the balloon and
// residentBytes the process's resident set, which tmpfs and unmapped page cache
// are no part of. A "holding" with forSeconds is over after that; without, it
// lasts until a command. Nothing is allocated, and a reader that does not read does
// not stop the balloon: a line that cannot be written at once is dropped, and
// the next one counts it in droppedEvents.
type Events struct {
	mu      sync.Mutex
	fd      int
	statm   *os.File
	pid     int
	dropped int64
	buf     [1024]byte
}

// NewEvents writes to the file descriptor fd.
func NewEvents(fd int) (*Events, error) {
	statm, err := os.Open("/proc/self/statm")
	if err != nil {
		return nil, err
	}
	return &Events{fd: fd, statm: statm, pid: os.Getpid()}, nil
}

// Emit writes an event at the level held.
func (e *Events) Emit(name string, held mem.Bytes) { e.emit(name, held, plan.Segment{}) }

// Restarted says how often the container was restarted before.
func (e *Events) Restarted(restarts int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.write(appendInt(e.begin("restarted"), "restarts", restarts))
}

// ChildExited says how a child process ended: by itself, or by a signal.
func (e *Events) ChildExited(state *os.ProcessState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := appendInt(e.begin("childExited"), "child", int64(state.Pid()))
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		b = appendInt(b, "signal", int64(status.Signal()))
	} else {
		b = appendInt(b, "exitCode", int64(state.ExitCode()))
	}
	e.write(b)
}

// Error reports err. The balloon goes on unless it says otherwise.
func (e *Events) Error(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.write(appendString(e.begin("error"), "message", err.Error()))
}

// emit writes an event of the segment s, or of none.
func (e *Events) emit(name string, held mem.Bytes, s plan.Segment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := appendInt(e.begin(name), "heldBytes", int64(held))
	if resident, ok := e.resident(); ok {
		b = appendInt(b, "residentBytes", int64(resident))
	}
	if s.Verb != "" {
		b = appendString(b, "verb", string(s.Verb))
	}
	if s.Kind != "" {
		b = appendString(b, "kind", string(s.Kind))
	}
	if name == "holding" && s.Verb != plan.Await && s.Duration != plan.Forever {
		b = append(b, `,"forSeconds":`...)
		b = strconv.AppendFloat(b, s.Duration.Seconds(), 'f', -1, 64)
	}
	e.write(b)
}

func (e *Events) begin(name string) []byte {
	b := append(e.buf[:0], `{"event":"`...)
	b = append(b, name...)
	b = append(b, '"')
	b = appendInt(b, "pid", int64(e.pid))
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		b = append(b, `,"monotonicSeconds":`...)
		b = strconv.AppendInt(b, now.Sec, 10)
		b = append(b, '.')
		b = strconv.AppendInt(b, 1e9+now.Nsec, 10)
		b = append(b[:len(b)-10], b[len(b)-9:]...) // 1e9+nsec has one digit too many, a leading 1
	}
	b = append(b, `,"wall":"`...)
	b = time.Now().UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// write ends the line and writes it, if that does not block.
func (e *Events) write(b []byte) {
	if e.dropped > 0 {
		b = appendInt(b, "droppedEvents", e.dropped)
	}
	b = append(b, '}', '\n')
	fds := [1]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(fds[:], 0); err != nil || n == 0 {
		e.dropped++
		return
	}
	if _, err := unix.Write(e.fd, b); err != nil {
		e.dropped++
		return
	}
	e.dropped = 0
}

// resident returns the process's resident set (statm(5), second field).
func (e *Events) resident() (mem.Bytes, bool) {
	var buf [128]byte
	n, err := e.statm.ReadAt(buf[:], 0)
	if n == 0 && err != nil {
		return 0, false
	}
	pages, field := mem.Pages(0), 0
	for _, c := range buf[:n] {
		switch {
		case c == ' ':
			field++
		case field == 1:
			pages = pages*10 + mem.Pages(c-'0')
		}
	}
	return pages.Bytes(pageSize), true
}

func appendInt(b []byte, key string, v int64) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, v, 10)
}

func appendString(b []byte, key, v string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, '"', ':', '"')
	for _, r := range v {
		switch {
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\t':
			b = append(b, '\\', 't')
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, ' ')
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
