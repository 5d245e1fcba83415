package evidence

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/reconcile"
)

func TestParseFormat(t *testing.T) {
	const format = "name: oom_score_adj_update\nID: 611\nformat:\n" +
		"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n" +
		"\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n\tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n" +
		"\tfield:short oom_score_adj;\toffset:28;\tsize:2;\tsigned:1;\n"
	want := traceEvent{at: map[string]int{"pid": 8, "comm": 12, "oom_score_adj": 28}, size: 30}
	fields := map[string]int{"pid": 4, "comm": 16, "oom_score_adj": 2}
	if got, err := parseFormat(format, fields); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, wrong := range []string{"", "\tfield:int pid;\toffset:x;\tsize:4;\n", "\tfield:int pid;\toffset:8;\tsize:8;\n"} {
		if got, err := parseFormat(wrong, map[string]int{"pid": 4}); err == nil {
			t.Errorf("%q: %+v without an error", wrong, got)
		}
	}
}

// A kernel may have one event and not the other.
func TestReadEvent(t *testing.T) {
	dir := t.TempDir()
	files := filepath.Join(dir, "events/oom/mark_victim")
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"id": "609\n", "format": "\tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n"} {
		if err := os.WriteFile(filepath.Join(files, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := traceEvent{id: 609, at: map[string]int{"pid": 8}, size: 12}
	if got, err := readEvent(dir, "mark_victim", map[string]int{"pid": 4}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := readEvent(dir, "oom_score_adj_update", nil); err == nil || !strings.Contains(err.Error(), "find oom:oom_score_adj_update") {
		t.Errorf("an event that is not there: %v", err)
	}
	r := &Recorder{noKmsg: errors.New("not allowed"), traces: []*tracer{{Trace: &Trace{traceEvents: traceEvents{mark: want, noScores: errors.New("not there")}}}}}
	if sources := r.sources(); sources[1].Error != "" || sources[3].Error != "not there" {
		t.Errorf("sources: %+v", sources)
	}
}

func TestParseCPUs(t *testing.T) {
	if got, err := parseCPUs("0-2,8"); err != nil || !slices.Equal(got, []int{0, 1, 2, 8}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, wrong := range []string{"", "a", "0-", "0,,1"} {
		if got, err := parseCPUs(wrong); err == nil {
			t.Errorf("%q: %v without an error", wrong, got)
		}
	}
}

// perfRecord is a record as the kernel writes it.
func perfRecord(kind uint32, body ...byte) []byte {
	r := binary.NativeEndian.AppendUint32(nil, kind)
	r = binary.NativeEndian.AppendUint16(r, 0)
	r = binary.NativeEndian.AppendUint16(r, uint16(8+len(body)))
	return append(r, body...)
}

// perfSample is an event of process 7, thread 8.
func perfSample(at time.Duration, kind uint16, event ...byte) []byte {
	body := binary.NativeEndian.AppendUint32(nil, 7)
	body = binary.NativeEndian.AppendUint32(body, 8)
	body = binary.NativeEndian.AppendUint64(body, uint64(at))
	body = binary.NativeEndian.AppendUint32(body, uint32(8+len(event)))
	body = binary.NativeEndian.AppendUint16(body, kind)
	body = append(body, make([]byte, 6)...) // the rest of the event's common fields
	return perfRecord(unix.PERF_RECORD_SAMPLE, append(body, event...)...)
}

// marked and wrote are the events themselves.
func marked(pid uint32) []byte { return binary.NativeEndian.AppendUint32(nil, pid) }

func wrote(pid uint32, comm string, adj int16) []byte {
	name := make([]byte, commLen)
	copy(name, comm)
	return binary.NativeEndian.AppendUint16(append(marked(pid), name...), uint16(adj))
}

// The records are read around the end of the buffer, only once, and told in the
// order of their marks.
func TestRing(t *testing.T) {
	lost := perfRecord(unix.PERF_RECORD_LOST, binary.NativeEndian.AppendUint64(make([]byte, 8), 3)...)
	const mark, score = 609, 611
	written := slices.Concat(
		perfSample(9*time.Millisecond, mark, marked(41)...), lost, perfSample(7*time.Millisecond, mark, marked(40)...),
		perfSample(6*time.Millisecond, 1, marked(42)...), perfSample(8*time.Millisecond, score, wrote(50, "runc:[0:PARENT]", -997)...),
		perfSample(5*time.Millisecond, score, wrote(51, "0123456789abcdef", 1000)...), perfSample(4*time.Millisecond, score, marked(52)...),
	)
	r := ring{page: new(unix.PerfEventMmapPage), data: make([]byte, 512)}
	start := uint64(len(r.data)*5 - 20)
	for i, b := range written {
		r.data[(int(start)+i)%len(r.data)] = b
	}
	r.page.Data_tail, r.page.Data_head = start, start+uint64(len(written))
	tr := &Trace{
		traceEvents: traceEvents{
			mark:  traceEvent{id: mark, at: map[string]int{"pid": 8}, size: 12},
			score: traceEvent{id: score, at: map[string]int{"pid": 8, "comm": 12, "oom_score_adj": 28}, size: 30},
		},
		rings: []ring{r},
	}
	want := []reconcile.Mark{{PID: 40, Uptime: 7 * time.Millisecond}, {PID: 41, Uptime: 9 * time.Millisecond}}
	got, scores := tr.Take()
	for i := range got {
		if age := time.Since(got[i].Recorded); age < 0 || age > time.Minute {
			t.Errorf("mark %d is recorded %v ago", i, age)
		}
		got[i].Recorded = time.Time{}
	}
	if !slices.Equal(got, want) || tr.Lost() != 3 {
		t.Errorf("marked %v, %d lost, want %v and 3", got, tr.Lost(), want)
	}
	if want := []reconcile.ScoreWrite{
		{PID: 51, Name: "0123456789abcdef", OOMScoreAdj: 1000, By: 7, Uptime: 5 * time.Millisecond},
		{PID: 50, Name: "runc:[0:PARENT]", OOMScoreAdj: -997, By: 7, Uptime: 8 * time.Millisecond},
	}; !slices.Equal(scores, want) {
		t.Errorf("written %+v, want %+v", scores, want)
	}
	if marks, scores := tr.Take(); len(marks)+len(scores) != 0 {
		t.Errorf("%v and %v are told twice", marks, scores)
	}
}
