package oomreport

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The reader decides where a buffer ends, and that must not matter.
func TestScannerIgnoresHowTheLogIsCutUp(t *testing.T) {
	var log []byte
	for _, a := range corpus(t) {
		log = append(log, file(a, "log")...)
	}
	want, err := Parse(bytes.NewReader(log))
	if err != nil || len(want) < 10 {
		t.Fatalf("%d reports, %v; want at least 10", len(want), err)
	}
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(log)),
		"half":     iotest.HalfReader(bytes.NewReader(log)),
		"with EOF": iotest.DataErrReader(bytes.NewReader(log)),
	} {
		got, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, ignoreWhere); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A report must be found among lines that fill buffers, with its line number.
func TestScannerFindsReportsInNoise(t *testing.T) {
	const noise = "Jun 24 18:49:43 node-1 app[7]: the living room is cool and nobody Kills time\n"
	one := string(file(corpus(t)["testdata/shmem.txtar"], "log"))
	for _, lines := range []int{0, 1, 100, 13_990, 40_000} {
		log := strings.Repeat(noise, lines) + one + strings.Repeat(noise, lines) + one
		reports := parseLog(t, log)
		if len(reports) != 2 || len(reports[0].Missing) != 0 || len(reports[1].Missing) != 0 {
			t.Fatalf("%d lines of noise: %d reports, want 2 whole ones", lines, len(reports))
		}
		if got := reports[0].At.Line; got != lines+2 { // a line comes before the header
			t.Errorf("%d lines of noise: report at line %d", lines, got)
		}
	}
}

func TestScannerSkipsLinesThatAreTooLong(t *testing.T) {
	one := string(file(corpus(t)["testdata/shmem.txtar"], "log"))
	reports := parseLog(t, strings.Repeat("x", 3*bufferSize)+"\n"+one)
	if len(reports) != 1 || len(reports[0].Missing) != 0 || reports[0].At.Line != 3 {
		t.Errorf("reports = %+v, want one whole report at line 3", reports)
	}
}

// No line is searched to its end for each of its characters: these take
// milliseconds, and would take minutes.
func TestHostileLinesAreReadOnce(t *testing.T) {
	used := func() time.Duration { // by this process, whatever else the machine does
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano())
	}
	start := used()
	for _, piece := range []string{"[", "[1] ", "{", `"`, "> ", "(", ": ", "Kill", "oom", "\x1b[", "&gt;", "] ", ",task=", "a:1 "} {
		line := strings.Repeat(piece, 900_000/len(piece))
		parseLog(t, strings.Repeat(line+" invoked oom-killer: \n"+line+"oom-kill:"+line+"\n", 2))
	}
	if took := used() - start; took > 20*time.Second {
		t.Errorf("took %s of a processor", took)
	}
}

func TestScannerTellsReadErrors(t *testing.T) {
	one := file(corpus(t)["testdata/shmem.txtar"], "log")
	s := NewScanner(io.MultiReader(bytes.NewReader(one), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if !s.Scan() {
		t.Error("the report before the error is lost")
	}
	if s.Scan() || !errors.Is(s.Err(), io.ErrUnexpectedEOF) {
		t.Errorf("Err = %v, want %v", s.Err(), io.ErrUnexpectedEOF)
	}
}

// A report that is never finished must not keep the Scanner from searching.
func TestUnfinishedReportIsGivenUp(t *testing.T) {
	const noise = "Jun 24 18:49:43 node-1 app[7]: the living room\n"
	var a Assembler
	a.Push(Record{Text: "dd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"})
	for range quietLines - 1 {
		a.Push(splitLine(noise)[0].Record)
	}
	if !a.Open() {
		t.Error("given up too early")
	}
	a.Push(splitLine(noise)[0].Record)
	a.Push(splitLine(noise)[0].Record)
	if a.Open() {
		t.Error("still open")
	}
}

// Wherever a log is cut, what is left must name no other victim, and a report
// that is not whole must say so.
func TestCutLogs(t *testing.T) {
	log := string(file(corpus(t)["testdata/pod-limit.txtar"], "log"))
	log, _, _ = strings.Cut(log, "4,1311,") // the first report
	var lines []string
	for line := range strings.Lines(log) {
		lines = append(lines, line)
	}
	for i := range lines {
		for name, part := range map[string]string{
			"head": strings.Join(lines[:i], ""), "tail": strings.Join(lines[i:], ""),
			"gap": strings.Join(lines[:max(i-5, 0)], "") + strings.Join(lines[i:], ""),
			"mid": strings.Join(lines[:i], "") + lines[i][:len(lines[i])/2],
		} {
			for _, r := range parseLog(t, part) {
				if d := dead(r); d != "" && d != "small-high/28377" {
					t.Errorf("%s %d: killed %s", name, i, d)
				}
				if name == "head" && len(r.Missing) == 0 {
					t.Errorf("%s %d: nothing is missing", name, i)
				}
			}
		}
	}
}

func dead(r *Report) string {
	var out []string
	for _, k := range r.Kills {
		out = append(out, Process{k.PID, k.Name}.String())
	}
	if out == nil && r.Victim != nil {
		out = append(out, Process{r.Victim.PID, r.Victim.Name}.String())
	}
	return strings.Join(out, " ")
}

// The memory that a log takes must not grow with the log.
func TestScannerMemoryIsConstant(t *testing.T) {
	one := string(file(corpus(t)["testdata/shmem.txtar"], "log"))
	piece := strings.Repeat("Jun 24 18:49:43 node-1 app[7]: the living room\n", 1000) + one
	heap := func(n int) uint64 {
		s := NewScanner(&repeat{piece: piece, n: n})
		reports := 0
		for s.Scan() {
			reports++
		}
		if reports != n {
			t.Fatalf("%d reports, want %d", reports, n)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		runtime.KeepAlive(s)
		return m.HeapAlloc
	}
	few, many := heap(5), heap(500)
	if many > few+1<<20 {
		t.Errorf("heap with 500 reports = %d bytes, with 5 = %d", many, few)
	}
}

// repeat reads piece n times.
type repeat struct {
	piece string
	n, at int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.piece[r.at:])
	if r.at += n; r.at == len(r.piece) {
		r.at, r.n = 0, r.n-1
	}
	return n, nil
}

func BenchmarkNoise(b *testing.B) {
	piece := strings.Repeat("Jun 24 18:49:43 node-1 app[7]: nobody looks into the living room\n", 10_000)
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	s := NewScanner(&repeat{piece: piece, n: b.N})
	for s.Scan() {
	}
}

func BenchmarkReports(b *testing.B) {
	piece := string(file(corpus(b)["testdata/pod-limit.txtar"], "log"))
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	s := NewScanner(&repeat{piece: piece, n: b.N})
	for s.Scan() {
	}
}
