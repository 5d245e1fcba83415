package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/oomlab/oomlab/internal/compare"
	"github.com/oomlab/oomlab/internal/record"
)

// headings of the classes of a difference.
var headings = []struct {
	class compare.Class
	text  string
}{
	{compare.Unexplained, "unexplained"},
	{compare.Explained, "explained"},
	{compare.Noise, "only noise"},
}

// ComparisonText writes a comparison for a terminal.
func ComparisonText(out io.Writer, r compare.Report) error {
	w := &errorWriter{out: out}
	for _, c := range r.Cells {
		w.printf("%s: %s, now %s\n", c.Name, sideText(c.Old), sideText(c.New))
		for _, f := range c.Changed {
			w.printf("  changed: %s: %s, now %s\n", f.Name, f.Old, f.New)
		}
		for _, h := range headings {
			for _, d := range c.Differences {
				if d.Class != h.class {
					continue
				}
				w.printf("  %s: %s: %s, now %s\n", h.text, d.Title(), sampleText(d.Old), sampleText(d.New))
				w.printf("      %s\n", reason(d))
			}
		}
		if len(c.Differences) == 0 {
			w.printf("  no difference\n")
		}
		for _, text := range c.NotCompared {
			w.printf("  not compared: %s\n", text)
		}
		w.printf("\n")
	}
	for _, line := range unmatched(r) {
		w.printf("%s\n", line)
	}
	w.printf("%s\n", summary(r))
	return w.err
}

// ComparisonMarkdown writes a comparison as a section of Markdown: what nothing
// explains first, over all cells.
func ComparisonMarkdown(out io.Writer, r compare.Report) error {
	w := &errorWriter{out: out}
	w.printf("## %s → %s\n\n%s\n", r.Old, r.New, summary(r))
	for _, h := range headings {
		if r.Count(h.class) == 0 {
			continue
		}
		w.printf("\n### %s\n\n| scenario | what | old | new | why |\n|---|---|---|---|---|\n", strings.ToUpper(h.text[:1])+h.text[1:])
		for _, c := range r.Cells {
			for _, d := range c.Differences {
				if d.Class == h.class {
					w.printf("| %s | %s | %s | %s | %s |\n", cell(c.Name), cell(d.Title()), cell(sampleText(d.Old)), cell(sampleText(d.New)), cell(reason(d)))
				}
			}
		}
	}
	w.printf("\n### What was compared\n\n| scenario | old | new | changed |\n|---|---|---|---|\n")
	for _, c := range r.Cells {
		var changed []string
		for _, f := range c.Changed {
			changed = append(changed, fmt.Sprintf("%s: %s, now %s", f.Name, f.Old, f.New))
		}
		for _, text := range c.NotCompared {
			changed = append(changed, "not compared: "+text)
		}
		w.printf("| %s | %s | %s | %s |\n", cell(c.Name), cell(sideText(c.Old)), cell(sideText(c.New)), cell(strings.Join(changed, "; ")))
	}
	for _, line := range unmatched(r) {
		w.printf("\n%s\n", line)
	}
	return w.err
}

// cell keeps text within a cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "\n", " ")
}

// junit is the JUnit format, as far as CI systems agree on it.
type junit struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitFailure `xml:"failure"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// ComparisonJUnit writes a comparison as a test suite with a case for each
// scenario, which fails if something changed that nothing explains.
func ComparisonJUnit(out io.Writer, r compare.Report) error {
	suite := junit{Name: "oomlab compare " + r.Old + " " + r.New}
	for _, c := range r.Cells {
		var bad, other []string
		for _, d := range c.Differences {
			line := fmt.Sprintf("%s: %s: %s, now %s: %s", d.Class, d.Title(), sampleText(d.Old), sampleText(d.New), reason(d))
			if d.Class == compare.Unexplained {
				bad = append(bad, line)
			} else {
				other = append(other, line)
			}
		}
		test := junitCase{Name: c.Name, Class: "oomlab.compare", Out: strings.Join(other, "\n")}
		if len(bad) > 0 {
			test.Failure = &junitFailure{Message: fmt.Sprintf("%d unexplained", len(bad)), Text: strings.Join(bad, "\n")}
		}
		suite.Cases = append(suite.Cases, test)
	}
	for _, name := range r.OnlyOld {
		suite.Cases = append(suite.Cases, junitCase{Name: name, Class: "oomlab.compare", Failure: &junitFailure{Message: "the new side has no run of it"}})
	}
	suite.Tests = len(suite.Cases)
	for _, c := range suite.Cases {
		if c.Failure != nil {
			suite.Failures++
		}
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(out)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

// reason says in a sentence what explains a difference.
func reason(d compare.Difference) string {
	text := d.Why
	if d.Follows != "" {
		text = "follows from: " + d.Follows
	}
	if d.Change == nil {
		return text
	}
	where := d.Change.Reference
	if d.Change.Component != "" {
		where = d.Change.Component + " " + d.Change.Release + ", " + where
	}
	return fmt.Sprintf("%s [%s]", text, where)
}

// sampleText writes a sample with its counts, if it rests on more than one run.
func sampleText(s compare.Sample) string {
	if n := s.Number; n != nil {
		return fmt.Sprintf("%s in %d runs", n.Text, n.Runs)
	}
	if len(s.Values) == 1 && s.Values[0].Runs == 1 {
		return s.Values[0].Value
	}
	total := 0
	for _, v := range s.Values {
		total += v.Runs
	}
	var parts []string
	for _, v := range s.Values {
		parts = append(parts, fmt.Sprintf("%s in %d of %d runs", v.Value, v.Runs, total))
	}
	return strings.Join(parts, ", ")
}

func sideText(s compare.Side) string {
	text := fmt.Sprintf("%d runs", s.Runs)
	if s.Runs == 1 {
		text = "1 run"
	}
	for _, v := range []record.Verdict{record.Pass, record.Fail, record.Inconclusive, record.Unsupported} {
		if n := s.Verdicts[v]; n == s.Runs {
			text += " " + string(v)
		} else if n > 0 {
			text += fmt.Sprintf(", %d %s", n, v)
		}
	}
	return text
}

func unmatched(r compare.Report) []string {
	var lines []string
	for _, name := range r.OnlyOld {
		lines = append(lines, "unexplained: the new side has no run of "+name)
	}
	for _, name := range r.OnlyNew {
		lines = append(lines, "not compared: the old side has no run of "+name)
	}
	return lines
}

func summary(r compare.Report) string {
	scenarios := map[bool]string{true: "1 scenario", false: fmt.Sprintf("%d scenarios", len(r.Cells))}[len(r.Cells) == 1]
	return fmt.Sprintf("%s compared; differences: %d unexplained, %d explained, %d only noise", scenarios, r.Unexplained(), r.Count(compare.Explained), r.Count(compare.Noise))
}

// errorWriter keeps the first error of a series of writes.
type errorWriter struct {
	out io.Writer
	err error
}

func (w *errorWriter) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}
