package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/matrix"
	"github.com/oomlab/oomlab/internal/record"
)

// matrixRun is a run in JSON.
type matrixRun struct {
	Cell     string         `json:"cell"`
	Scenario string         `json:"scenario"`
	N        int            `json:"n"`
	Record   string         `json:"record"` // its path
	Kept     bool           `json:"kept"`   // it was there before
	Verdict  record.Verdict `json:"verdict"`
	Error    string         `json:"error,omitempty"` // why it could not be finished
}

func matrixSummary(runs []*matrix.Run) []matrixRun {
	all := []matrixRun{}
	for _, r := range runs {
		one := matrixRun{
			Cell: r.Cell.Path, Scenario: r.Scenario.Metadata.Name, N: r.N, Record: r.Path, Kept: r.Kept, Verdict: r.Verdict(),
		}
		if r.Err != nil {
			one.Error = r.Err.Error()
		}
		all = append(all, one)
	}
	return all
}

// printMatrix prints a line for each scenario and a column for each cell.
func printMatrix(w io.Writer, plan matrix.Plan, runs []*matrix.Run) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	say("SCENARIO")
	for _, c := range plan.Cells {
		say("\t%s", c.Path)
	}
	say("\n")
	for _, s := range plan.Scenarios {
		say("%s", s.Metadata.Name)
		for _, c := range plan.Cells {
			say("\t%s", verdictsOf(runs, c.Path, s.Metadata.Name))
		}
		say("\n")
	}
}

// printMatrixCounts says what ran and how it ended. What could not be finished,
// or is inconclusive, did not pass either.
func printMatrixCounts(w io.Writer, runs []*matrix.Run) {
	passed, unsupported := 0, 0
	for _, r := range runs {
		switch r.Verdict() {
		case record.Pass:
			passed++
		case record.Unsupported:
			unsupported++
		}
	}
	ran := len(runs) - unsupported
	_, _ = fmt.Fprintf(w, "ran %d of %d runs: %d passed, %d failed; %d unsupported\n%d passed, %d failed\n",
		ran, len(runs), passed, ran-passed, unsupported, passed, ran-passed)
}

// verdictsOf counts the verdicts of one scenario in one cell: "2 pass, 1 fail".
func verdictsOf(runs []*matrix.Run, cell, scenario string) string {
	counts := map[string]int{}
	for _, r := range runs {
		if r.Cell.Path != cell || r.Scenario.Metadata.Name != scenario {
			continue
		}
		if r.Err != nil {
			counts["unfinished"]++
		} else {
			counts[string(r.Verdict())]++
		}
	}
	var parts []string
	for _, v := range []string{string(record.Pass), string(record.Fail), string(record.Inconclusive), string(record.Unsupported), "unfinished"} {
		if counts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	return strings.Join(parts, ", ")
}

// matrixProgress tells people how far it is.
type matrixProgress struct {
	out     io.Writer
	all     []*matrix.Run
	ended   int
	started map[*matrix.Run]time.Time
}

func (p *matrixProgress) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}

// found tells what is there already, and returns how many runs are missing.
func (p *matrixProgress) found() (missing int) {
	p.started = map[*matrix.Run]time.Time{}
	for _, r := range p.all {
		if r.Kept {
			p.ended++
		}
		if r.Redo != "" {
			p.say("made again: %s: %s", r.Path, r.Redo)
		}
	}
	if p.ended > 0 {
		p.say("kept: %d of %d records", p.ended, len(p.all))
	}
	return len(p.all) - p.ended
}

func (p *matrixProgress) begin(r *matrix.Run) { p.started[r] = time.Now() }

func (p *matrixProgress) end(r *matrix.Run) {
	p.ended++
	text := string(r.Verdict())
	if r.Err != nil {
		text = "could not be finished: " + strings.ReplaceAll(r.Err.Error(), "\n", "; ")
	}
	p.say("%3d of %d %s %s %d: %s after %.0f s", p.ended, len(p.all), r.Cell.Path, r.Scenario.Metadata.Name, r.N, text, time.Since(p.started[r]).Seconds())
}
