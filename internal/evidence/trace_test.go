package evidence

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/reconcile"
)

func TestParseFormat(t *testing.T) {
	const format = "name: mark_victim\nID: 633\nformat:\n" +
		"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n" +
		"\tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n\tfield:__data_loc char[] comm;\toffset:12;\tsize:4;\tsigned:0;\n"
	if at, err := parseFormat(format); at != 8 || err != nil {
		t.Errorf("offset %d, %v", at, err)
	}
	for _, wrong := range []string{"", "\tfield:int pid;\toffset:x;\tsize:4;\n", "\tfield:int pid;\toffset:8;\tsize:8;\n"} {
		if at, err := parseFormat(wrong); err == nil {
			t.Errorf("%q: offset %d without an error", wrong, at)
		}
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

func perfSample(at time.Duration, pid uint32) []byte {
	body := binary.NativeEndian.AppendUint64(nil, uint64(at))
	body = binary.NativeEndian.AppendUint32(body, 16)
	body = append(body, make([]byte, 8)...) // the event's common fields
	body = binary.NativeEndian.AppendUint32(body, pid)
	return perfRecord(unix.PERF_RECORD_SAMPLE, append(body, 0, 0, 0, 0)...)
}

// The records are read around the end of the buffer, only once, and told in the
// order of their marks.
func TestRing(t *testing.T) {
	lost := perfRecord(unix.PERF_RECORD_LOST, binary.NativeEndian.AppendUint64(make([]byte, 8), 3)...)
	written := slices.Concat(perfSample(9*time.Millisecond, 41), lost, perfSample(7*time.Millisecond, 40))
	r := ring{page: new(unix.PerfEventMmapPage), data: make([]byte, 128)}
	start := uint64(len(r.data)*5 - 20)
	for i, b := range written {
		r.data[(int(start)+i)%len(r.data)] = b
	}
	r.page.Data_tail, r.page.Data_head = start, start+uint64(len(written))
	tr := &Trace{pidAt: 8, rings: []ring{r}}
	want := []reconcile.Mark{{PID: 40, Uptime: 7 * time.Millisecond}, {PID: 41, Uptime: 9 * time.Millisecond}}
	got := tr.Take()
	for i := range got {
		if age := time.Since(got[i].Recorded); age < 0 || age > time.Minute {
			t.Errorf("mark %d is recorded %v ago", i, age)
		}
		got[i].Recorded = time.Time{}
	}
	if !slices.Equal(got, want) || tr.Lost() != 3 {
		t.Errorf("marked %v, %d lost, want %v and 3", got, tr.Lost(), want)
	}
	if got := tr.Take(); len(got) != 0 {
		t.Errorf("%v is told twice", got)
	}
}
