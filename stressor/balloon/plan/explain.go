package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

const (
	explainSteps = 20 // listed at most: a repeat may have very many
	plotWidth    = 60
	plotHeight   = 8
)

// Explain describes c for people: what each step does and when, and a plot of
// the level over the time of the plan.
func (c Curve) Explain() string {
	var b strings.Builder
	steps := 0
	for s := range c.Segments() {
		if steps++; steps <= explainSteps {
			fmt.Fprintf(&b, "%10s  %-32s %s\n", s.Start.Round(time.Millisecond), s.step, s.explain())
		}
	}
	if steps > explainSteps {
		fmt.Fprintf(&b, "%10s  and %d more steps\n", "", steps-explainSteps)
	}
	c.plot(&b)
	return b.String()
}

func (s Segment) explain() string {
	level := s.From.Human()
	if s.From != s.To {
		level += " to " + s.To.Human()
	}
	switch s.Verb {
	case Await:
		return "no change, until it is told to go on"
	case Hold:
		level = "no change"
	case Spike:
		level = fmt.Sprintf("%s to %s and back", s.From.Human(), s.amount.Human())
	case Saw:
		level = fmt.Sprintf("%s to %s, again and again", s.low.Human(), (s.low + s.amount).Human())
	}
	switch s.Duration {
	case 0:
		return level + ", at once"
	case Forever:
		return level + ", without an end"
	}
	return level + " in " + s.Duration.Round(time.Millisecond).String()
}

// plot draws the level, with some time after the start of an endless last step.
func (c Curve) plot(b *strings.Builder) {
	end := c.duration
	if end == Forever {
		var last Segment
		for s := range c.Segments() {
			last = s
		}
		end = max(last.Start*5/4, last.every*3, last.rate.over(last.amount), time.Second)
	}
	// One walk over the curve: looking up every column would be one each.
	var peaks [plotWidth]mem.Bytes
	levels := levelsOf(c.held)
	column := func(t time.Duration) int {
		return min(plotWidth-1, int(float64(t)/float64(max(1, end))*plotWidth))
	}
	for s := range c.Segments() {
		others := sum(levels) - levels[s.Kind]
		until := min(s.Duration, max(0, end-s.Start))
		for i := column(s.Start); i <= column(s.Start+until); i++ {
			t := max(0, time.Duration((float64(i)+0.5)/plotWidth*float64(end))-s.Start)
			peaks[i] = max(peaks[i], others+s.At(min(t, s.Duration)))
		}
		levels[s.Kind] = s.At(s.Duration)
	}
	for row := plotHeight; row > 0; row-- {
		label := ""
		if row == plotHeight {
			label = c.peak.Human()
		}
		fmt.Fprintf(b, "%10s |", label)
		for _, level := range peaks {
			full := float64(level)/float64(max(1, c.peak))*plotHeight - float64(row-1)
			switch {
			case full >= 0.75:
				b.WriteByte('#')
			case full >= 0.25:
				b.WriteByte('.')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "%10s +%s %s\n", "0", strings.Repeat("-", plotWidth), end.Round(time.Millisecond))
}
