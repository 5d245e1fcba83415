package cli

import (
	"fmt"
	"io"
	"strings"

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
