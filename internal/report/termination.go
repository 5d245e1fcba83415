package report

import (
	"fmt"
	"io"

	"github.com/oomlab/oomlab/internal/termination"
)

// Terminations writes for people what pods and events tell of containers that
// ran out of memory.
func Terminations(w io.Writer, r termination.Result) {
	say := func(format string, args ...any) { _, _ = io.WriteString(w, printable(fmt.Sprintf(format, args...))) }
	for _, e := range r.Endings {
		say("%s\n", headOf(e))
		if e.Message != "" {
			say("  %s\n", e.Message)
		}
		for _, why := range e.Why {
			say("  %s\n", why)
		}
		for _, v := range e.Events {
			say("  event: %s\n", eventText(v))
		}
		for _, open := range e.Open {
			say("  not told: %s\n", open)
		}
		say("\n")
	}
	for _, v := range r.Events {
		say("event of %s: %s\n  %s\n\n", objectOf(v.Event), eventText(v.Event), v.Means)
	}
	for _, f := range r.Findings {
		say("%s: %s\n", f.Name, f.Text)
	}
}

// headOf says in a line who ended and how.
func headOf(e termination.Ending) string {
	kind := "container "
	if e.Init {
		kind = "init container "
	} else if e.Container == "" {
		kind = "pod "
	}
	text := kind + e.String()
	if e.Class != "" {
		text += ", " + e.Class
	}
	if e.Node != "" {
		text += ", on " + e.Node
	}
	switch {
	case e.How != nil:
		text += fmt.Sprintf(": %s, exit code %d", e.How.Reason, e.How.ExitCode)
		if !e.How.Finished.IsZero() {
			text += ", " + termination.Time(e.How.Finished)
		}
	case e.Cause == termination.Refused:
		text += ": not admitted"
	case e.Cause == termination.Evicted:
		text += ": evicted"
	}
	if e.Restarts > 0 {
		text += fmt.Sprintf(" (restarts, for whatever reason: %d)", e.Restarts)
	}
	return text
}

func objectOf(v termination.Event) string {
	name := v.Name
	if v.Namespace != "" && v.Kind != "Node" {
		name = v.Namespace + "/" + name
	}
	if v.Container != "" {
		name += "/" + v.Container
	}
	return v.Kind + " " + name
}

func eventText(v termination.Event) string {
	text := v.Reason + ": " + v.Message + ", " + termination.Time(v.Last)
	if v.Count > 1 {
		text += fmt.Sprintf(", %d times since %s", v.Count, termination.Time(v.First))
	}
	return text
}
