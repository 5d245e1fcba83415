package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
)

const (
	barWidth = 24
	// shownRows is how many rows of a ranking are shown, beside the victim's
	// and the trigger's.
	shownRows = 8
)

// Explanation writes for people what a report means; number counts the reports
// of a log from 1, all shows the whole ranking. Names and paths come from users
// of the machine: they are shown without control characters.
func Explanation(w io.Writer, e *explain.Explanation, number int, all bool) {
	t := &teller{w: w, e: e, all: all}
	t.say("report %d%s\n\n", number, t.where())
	t.ranOut()
	t.trigger()
	t.victims()
	t.ranking()
	t.list("", e.Why)
	t.memory()
	t.changes()
	t.list("note: ", e.Notes)
	t.list("assumed: ", e.Assumed)
	t.list("missing in the log: ", e.Missing)
	t.say("\n")
}

type teller struct {
	w   io.Writer
	e   *explain.Explanation
	all bool
}

// say writes to a terminal or a buffer: there is nobody to tell of an error.
func (t *teller) say(format string, args ...any) {
	_, _ = io.WriteString(t.w, printable(fmt.Sprintf(format, args...)))
}

// printable replaces what a terminal would obey rather than show.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '·'
	}, s)
}

func (t *teller) list(head string, sentences []string) {
	for _, s := range sentences {
		t.say("%s%s\n", head, s)
	}
}

func (t *teller) human(p mem.Pages) string { return p.Bytes(t.e.PageSize).Human() }

func (t *teller) where() string {
	at := t.e.At
	var parts []string
	if at.Line > 0 {
		parts = append(parts, fmt.Sprintf("line %d", at.Line))
	}
	for _, s := range []string{at.Stamp, at.Host} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if at.Uptime > 0 {
		parts = append(parts, fmt.Sprintf("%.6f s after boot", at.Uptime.Seconds()))
	}
	if t.e.Kernel != "" {
		parts = append(parts, "Linux "+t.e.Kernel)
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

func (t *teller) ranOut() {
	r := t.e.RanOut
	switch r.Constraint {
	case oomreport.ConstraintMemcg:
		name := "a memory cgroup, which one the log does not tell"
		if r.Place != nil {
			name = r.Place.String()
		}
		t.say("%s ran out of memory", name)
		switch {
		case r.Counter == "memory+swap":
			t.say(": memory and swap %s of %s", r.MemSw.Usage.Human(), limit(r.MemSw.Limit))
		case r.Memory != nil:
			t.say(": %s of %s", r.Memory.Usage.Human(), limit(r.Memory.Limit))
		}
		if r.Memory != nil {
			t.say(", failed %d times to get more", r.Memory.Failcnt)
		}
		t.say("\n")
		if r.Place != nil {
			t.say("  %s\n", r.Place.Path)
		}
	case oomreport.ConstraintNone:
		t.say("the whole machine ran out of memory%s\n", t.machine())
	case oomreport.ConstraintCpuset, oomreport.ConstraintMemoryPolicy:
		t.say("the memory nodes %s ran out, to which a %s confines the allocation\n", orUnknown(r.Nodes),
			map[oomreport.Constraint]string{oomreport.ConstraintCpuset: "cpuset", oomreport.ConstraintMemoryPolicy: "memory policy"}[r.Constraint])
	case "":
		t.say("something ran out of memory; what it was the log does not tell\n")
	default:
		t.say("something ran out of memory, by the constraint %s\n", r.Constraint)
	}
}

func (t *teller) machine() string {
	m := t.e.RanOut.Machine
	if m == nil || !t.e.TotalPages.Known {
		return ""
	}
	text := ": " + t.human(t.e.TotalPages.Pages) + " of RAM"
	if m.SwapTotal != nil && *m.SwapTotal > 0 {
		text = fmt.Sprintf(": %s of RAM and swap (%s)", t.human(t.e.TotalPages.Pages), m.SwapTotal.Human())
		if m.SwapFree != nil {
			text += fmt.Sprintf(", of swap %s was free", m.SwapFree.Human())
		}
	}
	return text
}

func limit(l mem.Limit) string {
	if b, bounded := l.Bytes(); bounded {
		return b.Human()
	}
	return l.String()
}

func orUnknown(s string) string {
	if s == "" {
		return "(not told)"
	}
	return s
}

func (t *teller) trigger() {
	g := t.e.Trigger
	if g == nil {
		return
	}
	who := orUnknown(g.Name)
	if g.PID != 0 {
		who = oomreport.Process{PID: g.PID, Name: g.Name}.String()
	}
	t.say("%s was allocating", who)
	if g.Order != nil {
		t.say(", order %d", *g.Order)
	}
	if g.OOMScoreAdj != nil {
		t.say(", oom_score_adj %d", *g.OOMScoreAdj)
	}
	if g.GFPFlags != "" {
		t.say(", %s", g.GFPFlags)
	}
	t.say("\n")
}

func (t *teller) victims() {
	v := t.e.Victim
	if v != nil {
		t.say("the kernel chose %s", v.Process)
		if v.Place.Path != "" {
			t.say(", in %s", v.Place)
		}
		t.say("\n")
		if p := v.Place.Path; p != "" && (t.e.RanOut.Place == nil || p != t.e.RanOut.Place.Path) {
			t.say("  %s\n", p)
		}
	}
	for _, k := range t.e.Killed {
		t.say("killed %s, which held %s", k.Process, k.Held.Human())
		if k.OOMScoreAdj != nil {
			t.say(", oom_score_adj %d", *k.OOMScoreAdj)
		}
		t.say("\n")
	}
	if g := t.e.GroupKill; g != nil {
		t.say("memory.oom.group kills all processes of %s\n  %s\n", g, g.Path)
	}
}

// ranking writes the table with a bar for each process: what it held, and what
// its score adds.
func (t *teller) ranking() {
	rows := t.e.Ranking
	if len(rows) == 0 {
		t.say("\n")
		return
	}
	t.say("\n")
	tab := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = io.WriteString(tab, printable(fmt.Sprintf(format, args...))) }
	line("\tRANK\tPROCESS\tHELD\tADJ\tCLASS\tSHARE\tPOINTS\t\n")
	hidden := 0
	for i, r := range rows {
		isVictim := t.e.Victim != nil && r.PID == t.e.Victim.Row
		isTrigger := t.e.Trigger != nil && t.e.Trigger.Rank == i+1
		if i >= shownRows && !isVictim && !isTrigger && !t.all {
			hidden++
			continue
		}
		mark := map[bool]string{true: "chosen", false: ""}[isVictim]
		share, points, bar := "-", "-", ""
		switch {
		case r.Excluded != "":
			points = r.Excluded
		case r.Origin:
			points = "swapoff"
		case t.e.TotalPages.Known:
			share, points = t.human(r.AdjPages), t.human(r.Points)
			bar = t.bar(r)
		}
		line("%s\t%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", mark, i+1, oomreport.Process{PID: r.PID, Name: r.Name}, t.human(r.Held()),
			r.OOMScoreAdj, r.Class, share, points, bar)
	}
	_ = tab.Flush()
	if hidden > 0 {
		t.say("  … and %d more\n", hidden)
	}
	t.arithmetic()
}

func (t *teller) bar(r explain.Row) string {
	most := t.e.Ranking[0].Points
	if most <= 0 || r.Points <= 0 {
		return ""
	}
	cells := func(p mem.Pages) int { return int(float64(max(p, 0)) / float64(most) * barWidth) }
	all, held := cells(r.Points), cells(min(r.Held(), r.Points))
	return strings.Repeat("█", held) + strings.Repeat("░", all-held)
}

// arithmetic says where the numbers come from.
func (t *teller) arithmetic() {
	total := t.e.TotalPages
	if !total.Known {
		t.say("the share of a score is not known: the log lacks %s\n", total.Open)
		return
	}
	t.say("points = held (rss, swap, page tables) + oom_score_adj × %d pages; %d is %d/1000, the size of what ran out%s\n",
		total.Pages/1000, total.Pages/1000, total.Pages, terms(total.Terms))
}

func terms(all []oom.Term) string {
	if len(all) < 2 {
		return ""
	}
	var parts []string
	for _, term := range all {
		parts = append(parts, fmt.Sprintf("%d %s", term.Pages, term.Name))
	}
	return ": " + strings.Join(parts, " + ")
}

// memory writes the parts that matter: at least a hundredth of all.
func (t *teller) memory() {
	var sum mem.Bytes
	for _, p := range t.e.Memory {
		if p.Of == "" {
			sum += p.Bytes
		}
	}
	if sum <= 0 {
		return
	}
	t.say("\nwhat the memory was:\n")
	tab := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	for _, p := range t.e.Memory {
		if p.Of == "" && p.Bytes >= sum/100 {
			t.part(tab, "  ", p, sum)
			for _, inner := range t.e.Memory {
				if inner.Of == p.Name && inner.Bytes >= sum/100 {
					t.part(tab, "    ", inner, sum)
				}
			}
		}
	}
	_ = tab.Flush()
}

func (t *teller) part(tab io.Writer, indent string, p explain.Part, sum mem.Bytes) {
	note := ""
	if p.Unkillable {
		note = "in no process's rss"
	}
	bar := strings.Repeat("█", int(float64(p.Bytes)/float64(sum)*barWidth))
	_, _ = fmt.Fprintf(tab, "%s%s\t%s\t%s\t%s\n", indent, p.Name, p.Bytes.Human(), bar, note)
}

func (t *teller) changes() {
	t.say("\nthe model %s\n", map[explain.Agreement]string{
		explain.Agrees: "agrees with the kernel", explain.Tie: "finds a tie, which the kernel may decide as it did",
		explain.Undetermined: "can't tell with certainty", explain.Explained: "names another process, and the log says why the kernel did not take it",
		explain.Disagrees: "DISAGREES with the kernel", explain.NotJudged: "has nothing to judge",
	}[t.e.Agreement])
	if len(t.e.Changes) > 0 {
		t.say("what would have changed the outcome, by the model:\n")
	}
	for i, c := range t.e.Changes {
		t.say("  %d. %s\n     → %s\n", i+1, c.What, c.Outcome)
	}
	if t.e.NoChanges != "" && t.e.Agreement != explain.NotJudged {
		t.say("nothing to advise: %s\n", t.e.NoChanges)
	}
}
