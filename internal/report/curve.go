package report

import (
	"fmt"
	"path"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
)

// curveWidth is the number of columns that a curve is drawn in.
const curveWidth = 60

// curve draws what the memory of a run was like: how much was held, where in
// that the kills lie, and how long tasks had to wait for memory.
func (s *Story) curve(r *record.Record) {
	if r.Curve == nil || len(r.Curve.Samples) < 2 {
		return
	}
	samples := r.Curve.Samples
	from, to := samples[0].AtSeconds, samples[len(samples)-1].AtSeconds
	column := func(at float64) int {
		return max(0, min(curveWidth-1, int((at-from)*curveWidth/(to-from))))
	}
	held := make([]float64, curveWidth)
	stalled := make([]float64, curveWidth)
	least, most, before := samples[0].Usage, mem.Bytes(0), samples[0]
	for _, m := range samples {
		least, most = min(least, m.Usage), max(most, m.Usage)
		for i := min(column(before.AtSeconds)+1, column(m.AtSeconds)); i <= column(m.AtSeconds); i++ {
			held[i] = max(held[i], float64(m.Usage))
			if share, known := stalledShare(before, m); known {
				stalled[i] = max(stalled[i], share)
			}
		}
		before = m
	}
	s.printf("\n  memory   %s  %s to %s in %s\n", bars(held, float64(most)), least.Human(), most.Human(), path.Base(r.Curve.Cgroup))
	if marks := killMarks(r, column); marks != "" {
		s.printf("  kills    %s\n", s.paint(red, marks))
	}
	if last := samples[len(samples)-1].Stalled; last != nil && samples[0].Stalled != nil {
		s.printf("  stalled  %s  %.2f s some task of the %s, %.2f s all\n", bars(stalled, 1),
			last.SomeSeconds-samples[0].Stalled.SomeSeconds, r.Curve.StallOf, last.FullSeconds-samples[0].Stalled.FullSeconds)
	}
}

// stalledShare is the part of the time between two samples, 0 to 1, in which
// some task waited for memory.
func stalledShare(a, b record.MemorySample) (share float64, known bool) {
	if a.Stalled == nil || b.Stalled == nil || b.AtSeconds <= a.AtSeconds {
		return 0, false
	}
	return min(1, (b.Stalled.SomeSeconds-a.Stalled.SomeSeconds)/(b.AtSeconds-a.AtSeconds)), true
}

// bars draws each value as a block of its height: a full one is all of it.
func bars(values []float64, all float64) string {
	const blocks = " ▁▂▃▄▅▆▇█"
	steps := []rune(blocks)
	var b strings.Builder
	for _, v := range values {
		i := 0
		if v > 0 && all > 0 {
			i = min(len(steps)-1, 1+int(v/all*float64(len(steps)-1)))
		}
		b.WriteRune(steps[i])
	}
	return b.String()
}

// killMarks writes the number of each kill below the moment it was seen: + where
// several share a column, and beyond 9.
func killMarks(r *record.Record, column func(at float64) int) string {
	marks := []byte(strings.Repeat(" ", curveWidth))
	for _, k := range r.Kills {
		i := column(k.Time.Sub(r.Started).Seconds())
		switch {
		case marks[i] != ' ' || k.Order > 9:
			marks[i] = '+'
		default:
			marks[i] = fmt.Sprint(k.Order)[0]
		}
	}
	return strings.TrimRight(string(marks), " ")
}
