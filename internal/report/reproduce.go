package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/oomlab/oomlab/internal/reproduce"
)

// Attempt writes for people which process of a report plays which part in the
// scenario.
func Attempt(w io.Writer, a *reproduce.Attempt) {
	say := func(format string, args ...any) { _, _ = io.WriteString(w, printable(fmt.Sprintf(format, args...))) }
	say("%s: %s of %s at scale %s\n\n", a.Scenario.Metadata.Name, a.Scenario.Node.Domain, a.Limit.Human(), reproduce.ScaleText(a.Scale))
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { _, _ = io.WriteString(tab, printable(fmt.Sprintf(format, args...))) }
	row("  IN THE REPORT\tHELD\tHERE\tADJ\tFROM\tPART\n")
	for _, r := range a.Roles {
		from, part := "set", ""
		if r.Class != "" {
			from = string(r.Class)
		}
		switch {
		case r.Victim && r.Trigger:
			part = "victim and trigger"
		case r.Victim:
			part = "victim"
		case r.Trigger:
			part = "trigger"
		}
		row("  %s\t%s\t%s\t%d\t%s\t%s\n", r, r.Held.Human(), r.Target.Human(), r.OOMScoreAdj, from, part)
	}
	if a.Rest > 0 {
		row("  memory of nobody above\t\t%s\t\t\t\n", a.Rest.Human())
	}
	_ = tab.Flush()
	say("\n")
	if a.LeftOut > 0 {
		say("note: %d processes are left out, as too small or too far behind\n", a.LeftOut)
	}
	for _, n := range a.Notes {
		say("note: %s\n", n)
	}
	say("\n")
}

// Reproduction writes for people how far a run did what the report says.
func Reproduction(w io.Writer, r reproduce.Result) {
	say := func(format string, args ...any) { _, _ = io.WriteString(w, printable(fmt.Sprintf(format, args...))) }
	say("\n")
	for _, p := range r.Points {
		verdict := "open"
		if p.Same != nil && *p.Same {
			verdict = "same"
		} else if p.Same != nil {
			verdict = "differs"
		}
		say("  %-8s %-11s %s\n", verdict, p.Name, p.Text)
	}
	say("\n%s\n", r.Outcome)
}
