package evidence

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
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
// fired when a process is chosen and which no rate limit withholds, and of each
// score that is written from oom:oom_score_adj_update. It reads through perf
// events: unlike a tracefs instance they are gone with this process.
type Trace struct {
	traceEvents
	elsewhere unix.CPUSet // CPUs that it does not listen to, if there are any

	mu    sync.Mutex
	rings []ring
	lost  uint64
}

// ring is the buffer that one CPU writes to: a page of control, then data.
type ring struct {
	fd   int   // of oom:mark_victim
	more []int // what else writes there
	page *unix.PerfEventMmapPage
	mmap []byte
	data []byte
}

// ringPages holds hundreds of samples.
const ringPages = 8

// OpenTrace listens from now on. It needs root, and a kernel with trace events.
func OpenTrace() (*Trace, error) {
	events, cpus, err := findTrace()
	if err != nil {
		return nil, err
	}
	return events.listen(cpus)
}

// OpenTraces is like OpenTrace, with one that listens to one half of the CPUs and
// one for the others, for two threads to Settle and Wait.
func OpenTraces() (traces []*Trace, err error) {
	events, cpus, err := findTrace()
	if err != nil {
		return nil, err
	}
	var halves [2][]int
	for i, cpu := range cpus {
		halves[i%2] = append(halves[i%2], cpu)
	}
	for i, half := range halves {
		if len(half) == 0 {
			continue
		}
		t, err := events.listen(half)
		if err != nil {
			for _, other := range traces {
				err = errors.Join(err, other.Close())
			}
			return nil, err
		}
		for _, cpu := range halves[1-i] {
			t.elsewhere.Set(cpu)
		}
		traces = append(traces, t)
	}
	return traces, nil
}

func findTrace() (events traceEvents, cpus []int, err error) {
	if events, err = findEvents(); err != nil {
		return events, nil, err
	}
	list, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return events, nil, fmt.Errorf("list the CPUs: %w", err)
	}
	cpus, err = parseCPUs(strings.TrimSpace(string(list)))
	return events, cpus, err
}

func (e traceEvents) listen(cpus []int) (*Trace, error) {
	t := &Trace{traceEvents: e}
	for _, cpu := range cpus {
		r, err := openRing(t.mark.id, cpu)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("trace oom:mark_victim on CPU %d: %w", cpu, err), t.Close())
		}
		t.rings = append(t.rings, r)
		if t.noScores != nil {
			continue
		}
		if err := t.rings[len(t.rings)-1].join(t.score.id, cpu); err != nil {
			t.noScores = fmt.Errorf("trace oom:oom_score_adj_update on CPU %d: %w", cpu, err)
		}
	}
	return t, nil
}

// Settle binds the calling thread to CPUs that this trace does not listen to, if
// it may and if there are any. A CPU that has killed prints the kill, and lets no
// thread run until the consoles have it: a serial one takes milliseconds a line.
func (t *Trace) Settle() {
	if t.elsewhere.Count() > 0 {
		_ = unix.SchedSetaffinity(0, &t.elsewhere)
	}
}

func openEvent(event uint64, cpu int) (fd int, err error) {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_TRACEPOINT, Config: event, Sample: 1, Wakeup: 1,
		Sample_type: unix.PERF_SAMPLE_TID | unix.PERF_SAMPLE_TIME | unix.PERF_SAMPLE_RAW,
		Size:        uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Bits: unix.PerfBitUseClockID, Clockid: unix.CLOCK_MONOTONIC,
	}
	if fd, err = unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC); err != nil {
		return fd, fmt.Errorf("open the perf event: %w", err)
	}
	return fd, nil
}

func openRing(event uint64, cpu int) (ring, error) {
	fd, err := openEvent(event, cpu)
	if err != nil {
		return ring{}, err
	}
	size := os.Getpagesize()
	m, err := unix.Mmap(fd, 0, (1+ringPages)*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return ring{}, errors.Join(fmt.Errorf("map its buffer: %w", err), unix.Close(fd))
	}
	return ring{fd: fd, page: (*unix.PerfEventMmapPage)(unsafe.Pointer(&m[0])), mmap: m, data: m[size:]}, nil
}

// join lets another event write to the ring of its CPU.
func (r *ring) join(event uint64, cpu int) error {
	fd, err := openEvent(event, cpu)
	if err != nil {
		return err
	}
	r.more = append(r.more, fd)
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_OUTPUT, r.fd); err != nil {
		return fmt.Errorf("share the buffer of the CPU: %w", err)
	}
	return nil
}

// Take returns the victims that were marked since the last call, and the scores
// that were written, both in the order of their times.
func (t *Trace) Take() (marks []reconcile.Mark, scores []reconcile.ScoreWrite) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rings {
		for _, record := range r.take() {
			e, ok := t.parse(record)
			switch {
			case !ok:
			case e.is(t.mark):
				marks = append(marks, reconcile.Mark{PID: e.pid(t.mark), Uptime: e.at, Recorded: time.Now()})
			case t.noScores == nil && e.is(t.score):
				scores = append(scores, reconcile.ScoreWrite{
					PID: e.pid(t.score), Name: e.comm(t.score), OOMScoreAdj: e.adj(t.score), By: e.by, Uptime: e.at,
				})
			}
		}
	}
	slices.SortStableFunc(marks, func(a, b reconcile.Mark) int { return cmp.Compare(a.Uptime, b.Uptime) })
	slices.SortStableFunc(scores, func(a, b reconcile.ScoreWrite) int { return cmp.Compare(a.Uptime, b.Uptime) })
	return marks, scores
}

// NoScores returns why Take tells of no scores, nil if it does.
func (t *Trace) NoScores() error { return t.noScores }

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

// sample is an event as it happened.
type sample struct {
	at  time.Duration // on CLOCK_MONOTONIC
	by  int           // the process that ran
	raw []byte        // the event itself, beginning with the u16 number of its type
}

// parse reads a record: a sample is u32 pid and u32 tid of whoever ran, u64 time,
// u32 size and the event; a loss is u64 id and u64 number.
func (t *Trace) parse(record []byte) (s sample, ok bool) {
	const header = 4 + 4 + 8 + 4
	body := record[8:]
	switch binary.NativeEndian.Uint32(record) {
	case unix.PERF_RECORD_SAMPLE:
		if len(body) >= header+2 {
			return sample{
				by: int(int32(binary.NativeEndian.Uint32(body))), at: time.Duration(binary.NativeEndian.Uint64(body[8:])), raw: body[header:],
			}, true
		}
	case unix.PERF_RECORD_LOST:
		if len(body) >= 16 {
			t.lost += binary.NativeEndian.Uint64(body[8:])
		}
	}
	return s, false
}

// is reports whether the sample is one of that event, with all its fields.
func (s sample) is(e traceEvent) bool {
	return uint64(binary.NativeEndian.Uint16(s.raw)) == e.id && len(s.raw) >= e.size
}

func (s sample) pid(e traceEvent) int {
	return int(int32(binary.NativeEndian.Uint32(s.raw[e.at["pid"]:])))
}

func (s sample) adj(e traceEvent) int {
	return int(int16(binary.NativeEndian.Uint16(s.raw[e.at["oom_score_adj"]:])))
}

func (s sample) comm(e traceEvent) string {
	return unix.ByteSliceToString(s.raw[e.at["comm"]:][:commLen])
}

// Close ends the listening.
func (t *Trace) Close() error {
	var errs []error
	for _, r := range t.rings {
		for _, fd := range r.more {
			errs = append(errs, unix.Close(fd))
		}
		errs = append(errs, unix.Munmap(r.mmap), unix.Close(r.fd))
	}
	return errors.Join(errs...)
}

// traceEvent is what tracefs says about an event.
type traceEvent struct {
	id uint64         // its type
	at map[string]int // where it has its fields, in bytes
	// size is what an event has to have for all of them to be there.
	size int
}

// commLen is TASK_COMM_LEN, include/linux/sched.h.
const commLen = 16

// traceEvents are those that a Trace listens to.
type traceEvents struct {
	mark, score traceEvent
	noScores    error // why nobody tells of scores
}

// findEvents looks into a tracefs of its own. An error is about oom:mark_victim.
func findEvents() (e traceEvents, err error) {
	err = WithTracefs(func(dir string) (err error) {
		e.score, e.noScores = readEvent(dir, "oom_score_adj_update", map[string]int{"pid": 4, "comm": commLen, "oom_score_adj": 2})
		e.mark, err = readEvent(dir, "mark_victim", map[string]int{"pid": 4})
		return err
	})
	return e, err
}

// readEvent reads the number and the fields of an event. They have to have these
// sizes.
func readEvent(tracefs, name string, fields map[string]int) (e traceEvent, err error) {
	files := filepath.Join(tracefs, "events/oom", name)
	id, err := os.ReadFile(filepath.Join(files, "id"))
	if err != nil {
		return e, fmt.Errorf("find oom:%s: %w", name, err)
	}
	format, err := os.ReadFile(filepath.Join(files, "format"))
	if err != nil {
		return e, fmt.Errorf("find oom:%s: %w", name, err)
	}
	if e, err = parseFormat(string(format), fields); err != nil {
		return e, fmt.Errorf("read the format of oom:%s: %w", name, err)
	}
	if e.id, err = strconv.ParseUint(strings.TrimSpace(string(id)), 10, 16); err != nil {
		return e, fmt.Errorf("read the id of oom:%s: %w", name, err)
	}
	return e, nil
}

// parseFormat finds fields in lines such as
// "field:char comm[16];	offset:12;	size:16;	signed:0;".
func parseFormat(format string, sizes map[string]int) (traceEvent, error) {
	e := traceEvent{at: map[string]int{}}
	for line := range strings.Lines(format) {
		f := strings.Split(strings.TrimSpace(line), ";")
		if len(f) < 3 {
			continue
		}
		name, _, _ := strings.Cut(f[0][strings.LastIndexByte(f[0], ' ')+1:], "[")
		size, wanted := sizes[name]
		if !wanted || strings.TrimSpace(f[2]) != fmt.Sprintf("size:%d", size) {
			continue
		}
		offset, ok := strings.CutPrefix(strings.TrimSpace(f[1]), "offset:")
		if n, err := strconv.ParseUint(offset, 10, 16); ok && err == nil {
			e.at[name] = int(n)
			e.size = max(e.size, int(n)+size)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if _, found := e.at[name]; !found {
			return e, fmt.Errorf("it has no field %s of %d bytes", name, sizes[name])
		}
	}
	return e, nil
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
