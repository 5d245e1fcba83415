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

// document writes docs/benchmarks.md.
func document(results []result, c costs, rounds int, size mem.Bytes) []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# Benchmarks\n\n")
	p("Written by `make bench` (`go run ./bench`), which measures all of it again.\n")
	p("%s, %d CPUs, %s memory, %s; load average at the end %s. %d rounds of %v each, the programs taking turns.\n",
		kernel(), runtime.NumCPU(), machine(), runtime.Version(), loadAverage(), rounds, size)
	p("Speed is that of the kernel's own counter: how fast the usage of the program's memory cgroup goes from 10 %% to 90 %%.\n")
	p("A ratio compares the two runs of one round; the table gives the median over the rounds and the quartiles.\n\n")
	p("![Fill speed by program](benchmarks.svg)\n")
	for _, r := range results {
		p("\n## %s\n\n| program | GiB/s, median | stressor is faster by | quartiles | goal | met |\n|---|---:|---:|---:|---:|---|\n", r.title)
		for i, program := range r.programs {
			p("| %s | %.2f |", program.name, median(r.speeds[i])/float64(mem.GiB))
			if i == 0 {
				p(" | | | |\n")
				continue
			}
			ratios := slices.Sorted(slices.Values(r.ratios(i)))
			m := median(ratios)
			met := "yes"
			if m < r.goals[i] {
				met = "**no**"
			}
			p(" %.2f× | %.2f–%.2f | ≥ %v× | %s |\n", m, ratios[len(ratios)/4], ratios[len(ratios)*3/4], r.goals[i], met)
		}
	}
	p("\nstress-ng populates its mapping with one system call too, `MADV_POPULATE_READ` as of 0.15 (seen with strace).\n")
	p("Where the kernel answers reads with its one zero page, every page then faults a second time when it is written; ")
	p("this kernel %s.\n", zeroPage())
	p("\n## What the stressor uses itself\n\n| | measured | goal |\n|---|---:|---:|\n")
	p("| CPU while holding | %.4f %% | < 0.1 %% |\n", 100*c.holding)
	p("| CPU of `ramp 100Mi at 10Mi/s` | %.2f %% | |\n", 100*median(c.ramp))
	p("| CPU of a C program that faults in as much, as often | %.2f %% | |\n", 100*median(c.paced))
	p("| so the ramp costs, beyond its page faults | %.2f %% | < 1 %% |\n", 100*(median(c.ramp)-median(c.paced)))
	p("| own resident memory while holding | %.2f MiB | ≤ 2.5 MiB |\n", float64(c.resident)/float64(mem.MiB))
	return b.Bytes()
}

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

// plot draws a bar per program, the median speed, with a dot per round.
func plot(results []result) []byte {
	const (
		width, label, row = 860, 330, 28
		bars              = width - label - 90
	)
	var fastest float64
	rows := 0
	for _, r := range results {
		rows += len(r.programs) + 1
		for _, speeds := range r.speeds {
			fastest = max(fastest, slices.Max(speeds))
		}
	}
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	x := func(speed float64) float64 { return label + speed/fastest*bars }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`, width, rows*row+12)
	p(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	y := 0
	for _, r := range results {
		p(`<text x="8" y="%d" font-weight="bold">%s, GiB/s</text>`, y+20, r.title)
		y += row
		for i, program := range r.programs {
			colour := "#9aa5b1"
			if i == 0 {
				colour = "#2f6fdb"
			}
			m := median(r.speeds[i])
			p(`<text x="%d" y="%d" text-anchor="end">%s</text>`, label-8, y+18, strings.ReplaceAll(program.name, "`", ""))
			p(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, label, y+4, x(m)-label, row-9, colour)
			for _, speed := range r.speeds[i] {
				p(`<circle cx="%.1f" cy="%d" r="2" fill="#000" fill-opacity="0.45"/>`, x(speed), y+13)
			}
			p(`<text x="%.1f" y="%d">%.2f</text>`, x(slices.Max(r.speeds[i]))+6, y+18, m/float64(mem.GiB))
			y += row
		}
	}
	p(`</svg>`)
	return b.Bytes()
}
