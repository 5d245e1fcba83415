package selfcheck

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
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

// record is one as the kernel writes it.
func record(kind uint32, body ...byte) []byte {
	r := binary.NativeEndian.AppendUint32(nil, kind)
	r = binary.NativeEndian.AppendUint16(r, 0)
	r = binary.NativeEndian.AppendUint16(r, uint16(8+len(body)))
	return append(r, body...)
}

func sample(pid uint32) []byte {
	body := binary.NativeEndian.AppendUint32(nil, 16)
	body = append(body, make([]byte, 8)...) // the event's common fields
	body = binary.NativeEndian.AppendUint32(body, pid)
	return record(unix.PERF_RECORD_SAMPLE, append(body, 0, 0, 0, 0)...)
}

// The records are read in order, around the end of the buffer, and only once.
func TestRing(t *testing.T) {
	lost := record(unix.PERF_RECORD_LOST, binary.NativeEndian.AppendUint64(make([]byte, 8), 3)...)
	written := slices.Concat(sample(41), lost, sample(40))
	r := ring{page: new(unix.PerfEventMmapPage), data: make([]byte, 128)}
	start := uint64(len(r.data)*5 - 20)
	for i, b := range written {
		r.data[(int(start)+i)%len(r.data)] = b
	}
	r.page.Data_tail, r.page.Data_head = start, start+uint64(len(written))
	tr := &trace{pidAt: 8, rings: []ring{r}, marked: map[int]bool{}}
	if !tr.isMarked(41) || !tr.isMarked(40) || tr.isMarked(39) || tr.lost != 3 {
		t.Errorf("marked %v, %d lost", tr.marked, tr.lost)
	}
	tr.forget(41)
	if tr.isMarked(41) {
		t.Error("41 is marked again by a record that was read")
	}
}
