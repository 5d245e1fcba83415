// Package report writes what happened for people and for CI.
package report

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// Story tells a run line by line, as it happens.
type Story struct {
	out    io.Writer
	colour bool
}

// NewStory returns a story told to out, in colour on a terminal unless NO_COLOR
// is set.
func NewStory(out io.Writer) *Story {
	f, isFile := out.(*os.File)
	return &Story{out: out, colour: isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// Begin says what the story is about.
func (s *Story) Begin(scenario *scenarios.Scenario) {
	s.printf("%s: %s\n\n", s.paint(bold, scenario.Metadata.Name), scenario.Title)
	for line := range strings.SplitSeq(wrap(strings.TrimSpace(scenario.Story), 78), "\n") {
		s.printf("  %s\n", line)
	}
	s.printf("\n")
}

// Event tells one thing that happened.
func (s *Story) Event(e record.Event) {
	step := fmt.Sprintf("%-8s", e.Step)
	switch e.Step {
	case "kill":
		step = s.paint(red, step)
	case "predict":
		step = s.paint(blue, step)
	case "finding":
		step = s.paint(yellow, step)
	}
	s.printf("%7.2fs  %s  %s\n", e.AtSeconds, step, e.Text)
}

// End draws the memory over the time, says who wrote which score, and gives the
// verdict, claim by claim.
func (s *Story) End(r *record.Record) {
	s.curve(r)
	s.scores(r)
	s.printf("\n")
	for _, c := range r.Claims {
		s.printf("  %s  %-18s %s\n", s.verdict(c.Verdict), c.Name, c.Sentence)
	}
	for _, f := range r.Findings {
		s.printf("  %s  %-18s %s\n", s.paint(yellow, "finding     "), f.Name, f.Text)
	}
	s.printf("\n%s %s in %.1f s: %s, %s, kernel %s\n", s.verdict(r.Verdict), r.Scenario.Metadata.Name, r.ElapsedSeconds,
		"lab "+r.Lab, counted(r), r.Host.Kernel)
}

func counted(r *record.Record) string {
	n := map[record.Verdict]int{}
	for _, c := range r.Claims {
		n[c.Verdict]++
	}
	var parts []string
	for _, v := range []record.Verdict{record.Pass, record.Fail, record.Inconclusive, record.Unsupported} {
		if n[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
		}
	}
	return strings.Join(parts, ", ")
}

const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
)

func (s *Story) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *Story) verdict(v record.Verdict) string {
	code := map[record.Verdict]string{record.Pass: green, record.Fail: red}[v]
	if code == "" {
		code = yellow
	}
	return s.paint(code, fmt.Sprintf("%-12s", v))
}

// printf writes to a terminal or a buffer: there is nobody to tell of an error.
func (s *Story) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }

// wrap breaks text between words so that no line is longer than width, where
// that is possible.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
