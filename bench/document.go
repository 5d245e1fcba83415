package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
)

// conditions are what a measurement was made under.
type conditions struct {
	Machine string `json:"machine"`
	Load    string `json:"loadAverage"` // of a minute, at the end
}

func conditionsNow() conditions {
	return conditions{fmt.Sprintf("%s, %d CPUs, %s memory, %s", kernel(), runtime.NumCPU(), machine(), runtime.Version()), loadAverage()}
}

// writer writes a document.
type writer struct{ bytes.Buffer }

func (w *writer) p(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// document writes docs/benchmarks.md.
func document(m measured) []byte {
	var w writer
	w.p("# Benchmarks\n\n")
	w.p("Written by `make bench` (`go run ./bench`), which measures all of it again; with `-only fill,costs`, a part.\n")
	for _, s := range everything {
		if c, ok := m.Conditions[s.name]; ok {
			w.p("%s.\n", c.Machine) // all on one machine, in the end
			break
		}
	}
	if m.Fill != nil || m.THP != nil {
		w.p("Speed is that of the kernel's own counter: how fast the usage of the program's memory cgroup goes from 10 %% to 90 %%.\n")
		w.p("A ratio compares the two runs of one round, in which the programs take turns; the tables give the median over the rounds and the quartiles.\n\n")
		w.p("![Fill speed by program](benchmarks.svg)\n")
	}
	w.comparison(m.Fill, m.Conditions["fill"])
	if m.Fill != nil {
		w.p("\nThe stressor fills on two processors where there are two (`threads 1` keeps it to one); the others use one.\n")
		w.p("stress-ng populates its mapping with one system call too, `MADV_POPULATE_READ` as of 0.15 (seen with strace).\n")
		w.p("Where the kernel answers reads with its one zero page, every page then faults a second time when it is written; this kernel %s.\n", zeroPage())
	}
	w.comparison(m.THP, m.Conditions["thp"])
	if m.THP != nil {
		w.p("\nA run that is many times slower, as in the plot, happens to each of these programs; it spreads the ratios more than it moves the medians of the speeds.\n")
	}
	w.costs(m.Costs, m.Conditions["costs"])
	w.figures(m)
	return w.Bytes()
}

func (w *writer) comparison(r *result, c conditions) {
	if r == nil {
		return
	}
	w.p("\n## %s\n\n%d rounds of %v each; load average at the end %s.\n\n", r.Title, len(r.Speeds[0]), r.Size, c.Load)
	w.p("| program | GiB/s, median | stressor is faster by | quartiles | goal | met |\n|---|---:|---:|---:|---:|---|\n")
	for i, program := range r.Programs {
		w.p("| %s | %.2f |", program.Name, median(r.Speeds[i])/float64(mem.GiB))
		if i == 0 {
			w.p(" | | | |\n")
			continue
		}
		ratios := slices.Sorted(slices.Values(r.ratios(i)))
		w.p(" %.2f× | %.2f–%.2f |", median(ratios), ratios[len(ratios)/4], ratios[len(ratios)*3/4])
		if program.Goal == 0 {
			w.p(" | |\n")
			continue
		}
		w.p(" ≥ %v× | %s |\n", program.Goal, yes(median(ratios) >= program.Goal))
	}
}

func (w *writer) costs(c *costs, at conditions) {
	if c == nil {
		return
	}
	beyond := median(c.Ramp) - median(c.Paced)
	w.p("\n## What the stressor uses itself\n\nLoad average at the end %s.\n\n| | measured | goal | met |\n|---|---:|---:|---|\n", at.Load)
	w.p("| CPU while holding | %.4f %% | < 0.1 %% | %s |\n", 100*c.Holding, yes(c.Holding < 0.001))
	w.p("| CPU of `ramp 100Mi at 10Mi/s` | %.2f %% | | |\n", 100*median(c.Ramp))
	w.p("| CPU of a C program that faults in as much, as often | %.2f %% | | |\n", 100*median(c.Paced))
	w.p("| so the ramp costs, beyond its page faults | %.2f %% | < 1 %% | %s |\n", 100*beyond, yes(beyond < 0.01))
	const own = 2*mem.MiB + mem.MiB/2
	w.p("| own resident memory while holding | %.2f MiB | ≤ 2.5 MiB | %s |\n", mib(c.Resident), yes(c.Resident <= own))
	w.p("| the most of it at any instant while moving | %.2f MiB | ≤ 2.5 MiB | %s |\n", mib(c.Moving), yes(c.Moving <= own))
	w.p("| instants of a ramp at 100Mi/s that are off by more than 1 %% and 1 MiB | %d of %d | 0 | %s |\n", c.Off, c.Instants, yes(c.Off == 0))
	w.p("| the farthest of all instants | %.2f MiB | | |\n", mib(c.Farthest))
}

// figures are those of the rest of the project.
func (w *writer) figures(m measured) {
	names := map[string]string{
		"BenchmarkPredict10000": "prediction of the victim among 10,000 processes",
		"BenchmarkNoise":        "reading a log without OOM reports",
		"BenchmarkReports":      "reading OOM reports",
	}
	var rows writer
	for _, g := range m.Models {
		name, known := names[g.Name]
		switch {
		case !known:
		case g.MBPerSecond > 0:
			rows.p("| %s | %.0f MB/s |\n", name, g.MBPerSecond)
		default:
			rows.p("| %s | %.2f ms |\n", name, g.NsPerOp/1e6)
		}
	}
	if s := m.Selfcheck; s != nil {
		rows.p("| experiments of the self-check, %d of them, of which %d with a kill, %d as forecast | %.0f a minute |\n",
			s.Experiments, s.Killed, s.Agree, float64(s.Experiments)/s.Seconds*60)
	}
	if k := m.Kills; k != nil {
		rows.p("| from the kernel's decision until the victim's memory is back, %d kills, median | %.0f ms |\n", len(k.Seconds), 1000*median(k.Seconds))
		rows.p("| the slowest of them | %.0f ms |\n", 1000*slices.Max(k.Seconds))
	}
	if c := m.Cluster; c != nil {
		rows.p("| a kind cluster of a control plane and %d workers, its image being there: up | %.0f s |\n", c.Workers, c.Up)
		rows.p("| and gone again | %.0f s |\n", c.Down)
	}
	if rows.Len() > 0 {
		w.p("\n## The rest of the project\n\n| | measured |\n|---|---:|\n%s", rows.String())
	}
}

func yes(met bool) string {
	if met {
		return "yes"
	}
	return "**no**"
}

func mib(b mem.Bytes) float64 { return float64(b) / float64(mem.MiB) }

// zeroPage says, as probed, what a read of untouched private memory gets.
func zeroPage() string {
	const size = 16 << 20
	before, err := residentOf("self")
	if err != nil {
		return "could not be probed"
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil || unix.Madvise(b, unix.MADV_POPULATE_READ) != nil {
		return "could not be probed"
	}
	defer func() { _ = unix.Munmap(b) }() // the probe is over
	after, err := residentOf("self")
	switch {
	case err != nil:
		return "could not be probed"
	case after-before > size/2:
		return "gives real pages at once, so both programs spend their time in the same kernel code"
	}
	return "does so"
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

func machine() string {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return "unknown"
	}
	return mem.Bytes(uint64(info.Totalram) * uint64(info.Unit)).Human()
}

func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(data))[0]
}
