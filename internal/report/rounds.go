package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/oomlab/oomlab/internal/record"
)

// Round is one of several times that the same scenarios were run.
type Round struct {
	Name    string
	Records []*record.Record
}

// Rounds writes a table of the verdicts, a column each round, and behind those
// that differ the claims that do. A scenario that a round lacks differs, too.
// It returns how many scenarios differ.
func Rounds(w io.Writer, rounds []Round) (differing int, err error) {
	of := map[string]map[int]*record.Record{} // by scenario and round
	header := []string{"SCENARIO"}
	for i, round := range rounds {
		header = append(header, round.Name)
		for _, r := range round.Records {
			name := r.Scenario.Metadata.Name
			if of[name] == nil {
				of[name] = map[int]*record.Record{}
			}
			of[name][i] = r
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, strings.Join(append(header, "DIFFERING CLAIMS"), "\t"))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		line := []string{name}
		verdicts := map[string]bool{}
		for i := range rounds {
			verdict := "-"
			if r := of[name][i]; r != nil {
				verdict = string(r.Verdict)
			}
			verdicts[verdict] = true
			line = append(line, verdict)
		}
		claims := differingClaims(of[name])
		if len(verdicts) > 1 || len(claims) > 0 {
			differing++
		}
		_, _ = fmt.Fprintln(table, strings.Join(append(line, strings.Join(claims, ", ")), "\t"))
	}
	_, _ = fmt.Fprintf(table, "%d rounds of %d scenarios: %d differ\n", len(rounds), len(of), differing)
	return differing, table.Flush()
}

// differingClaims returns the names of the claims that are not answered alike in
// all records.
func differingClaims(records map[int]*record.Record) []string {
	answers := map[string]map[record.Verdict]int{}
	for _, r := range records {
		for _, c := range r.Claims {
			if answers[c.Name] == nil {
				answers[c.Name] = map[record.Verdict]int{}
			}
			answers[c.Name][c.Verdict]++
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		for _, n := range answers[name] {
			if n != len(records) {
				names = append(names, name)
				break
			}
		}
	}
	return names
}
