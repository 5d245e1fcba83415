package evidence

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/reconcile"
)

// Trace hears of each victim from the trace event oom:mark_victim, which is
// fired when a process is chosen and which no rate limit withholds. It reads
// through perf events: unlike a tracefs instance they are gone with this process.
type Trace struct {
	pidAt int // where a sample has the pid

	mu    sync.Mutex
	rings []ring
	lost  uint64
}

// ring is the buffer that one CPU writes to: a page of control, then data.
type ring struct {
	fd   int
	page *unix.PerfEventMmapPage
	mmap []byte
	data []byte
}

// ringPages holds hundreds of samples.
const ringPages = 8

// OpenTrace listens from now on. It needs root, and a kernel with trace events.
func OpenTrace() (t *Trace, err error) {
	event, err := findEvent()
	if err != nil {
		return nil, err
	}
	cpus, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil, fmt.Errorf("list the CPUs: %w", err)
	}
	online, err := parseCPUs(strings.TrimSpace(string(cpus)))
	if err != nil {
		return nil, err
	}
	t = &Trace{pidAt: event.pidAt}
	for _, cpu := range online {
		r, err := openRing(event.id, cpu)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("trace oom:mark_victim on CPU %d: %w", cpu, err), t.Close())
		}
		t.rings = append(t.rings, r)
	}
	return t, nil
}

func openRing(event uint64, cpu int) (ring, error) {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_TRACEPOINT, Config: event, Sample: 1, Wakeup: 1, Sample_type: unix.PERF_SAMPLE_TIME | unix.PERF_SAMPLE_RAW,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Bits: unix.PerfBitUseClockID, Clockid: unix.CLOCK_MONOTONIC,
	}
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return ring{}, fmt.Errorf("open the perf event: %w", err)
	}
	size := os.Getpagesize()
	m, err := unix.Mmap(fd, 0, (1+ringPages)*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return ring{}, errors.Join(fmt.Errorf("map its buffer: %w", err), unix.Close(fd))
	}
	return ring{fd: fd, page: (*unix.PerfEventMmapPage)(unsafe.Pointer(&m[0])), mmap: m, data: m[size:]}, nil
}

// Take returns the victims that were marked since the last call, in the order
// of their marks.
func (t *Trace) Take() []reconcile.Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	var marks []reconcile.Mark
	for _, r := range t.rings {
		for _, record := range r.take() {
			if m, ok := t.parse(record); ok {
				m.Recorded = time.Now()
				marks = append(marks, m)
			}
		}
	}
	slices.SortStableFunc(marks, func(a, b reconcile.Mark) int { return cmp.Compare(a.Uptime, b.Uptime) })
	return marks
}

// Wait returns when there is something to take, and after the timeout at the
// latest.
func (t *Trace) Wait(timeout time.Duration) error {
	fds := make([]unix.PollFd, len(t.rings))
	for i, r := range t.rings {
		fds[i] = unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN}
	}
	if _, err := unix.Poll(fds, int(timeout.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for oom:mark_victim: %w", err)
	}
	return nil
}

// Lost returns how many events found no room, as far as Take has seen.
func (t *Trace) Lost() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// take returns the records that are in the buffer, with their headers
// (struct perf_event_header: u32 type, u16 misc, u16 size).
func (r ring) take() (records [][]byte) {
	head, tail := atomic.LoadUint64(&r.page.Data_head), atomic.LoadUint64(&r.page.Data_tail)
	at := func(i, n uint64) []byte {
		out := make([]byte, n)
		for k := range out {
			out[k] = r.data[(i+uint64(k))%uint64(len(r.data))]
		}
		return out
	}
	for tail < head {
		size := uint64(binary.NativeEndian.Uint16(at(tail+6, 2)))
		if size < 8 || size > head-tail {
			break // torn: never written by a kernel
		}
		records = append(records, at(tail, size))
		tail += size
	}
	atomic.StoreUint64(&r.page.Data_tail, head)
	return records
}

// parse reads a record: a sample is u64 time, u32 size and the event itself, a
// loss u64 id and u64 number.
func (t *Trace) parse(record []byte) (m reconcile.Mark, ok bool) {
	body := record[8:]
	switch binary.NativeEndian.Uint32(record) {
	case unix.PERF_RECORD_SAMPLE:
		if at := 8 + 4 + t.pidAt; len(body) >= at+4 {
			m.Uptime = time.Duration(binary.NativeEndian.Uint64(body))
			m.PID = int(int32(binary.NativeEndian.Uint32(body[at:])))
			return m, true
		}
	case unix.PERF_RECORD_LOST:
		if len(body) >= 16 {
			t.lost += binary.NativeEndian.Uint64(body[8:])
		}
	}
	return m, false
}

// Close ends the listening.
func (t *Trace) Close() error {
	var errs []error
	for _, r := range t.rings {
		errs = append(errs, unix.Munmap(r.mmap), unix.Close(r.fd))
	}
	return errors.Join(errs...)
}

// traceEvent is what tracefs says about oom:mark_victim.
type traceEvent struct {
	id    uint64
	pidAt int
}

// findEvent looks into a tracefs of its own.
func findEvent() (e traceEvent, err error) {
	err = WithTracefs(func(dir string) error {
		files := filepath.Join(dir, "events/oom/mark_victim")
		id, err := os.ReadFile(filepath.Join(files, "id"))
		if err != nil {
			return fmt.Errorf("find oom:mark_victim: %w", err)
		}
		format, err := os.ReadFile(filepath.Join(files, "format"))
		if err != nil {
			return fmt.Errorf("find oom:mark_victim: %w", err)
		}
		if e.id, err = strconv.ParseUint(strings.TrimSpace(string(id)), 10, 64); err != nil {
			return fmt.Errorf("read the id of oom:mark_victim: %w", err)
		}
		e.pidAt, err = parseFormat(string(format))
		return err
	})
	return e, err
}

// parseFormat returns the offset of "field:int pid;	offset:8;	size:4; …".
func parseFormat(format string) (int, error) {
	for line := range strings.Lines(format) {
		f := strings.Split(strings.TrimSpace(line), ";")
		if len(f) < 3 || f[0] != "field:int pid" || strings.TrimSpace(f[2]) != "size:4" {
			continue
		}
		offset, ok := strings.CutPrefix(strings.TrimSpace(f[1]), "offset:")
		if n, err := strconv.ParseUint(offset, 10, 16); ok && err == nil {
			return int(n), nil
		}
	}
	return 0, errors.New("oom:mark_victim has no int pid among its fields")
}

// parseCPUs reads a list of CPUs: "0-3,8".
func parseCPUs(list string) ([]int, error) {
	var cpus []int
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 16)
		last, err2 := strconv.ParseUint(high, 10, 16)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", list, err)
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, int(cpu))
		}
	}
	slices.Sort(cpus)
	return cpus, nil
}
