// Package compare says what behaves differently in two runs of the same
// scenarios, or in two sets of runs: on another kernel, with another kubelet,
// containerd or configuration. What runs of one side do not agree on themselves
// is noise; of the rest it says which known change explains it, and what nothing
// explains. It reads run records and nothing else.
package compare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/record"
)

// Run is one run and where its record was found.
type Run struct {
	// Path names the record in errors.
	Path string
	// Group is the folder of the record, below the one that is compared. Runs
	// of one scenario in one folder are repetitions of each other.
	Group  string
	Record *record.Record
}

// cell names the runs that are repetitions of each other.
func (r Run) cell() string { return path.Join(r.Group, r.Record.Scenario.Metadata.Name) }

// Report is the answer: a cell for each scenario that both sides have run.
type Report struct {
	Old   string `json:"old"`
	New   string `json:"new"`
	Cells []Cell `json:"cells"`
	// OnlyOld and OnlyNew are cells that cannot be compared, because the other
	// side has no run of them.
	OnlyOld []string `json:"onlyOld,omitempty"`
	OnlyNew []string `json:"onlyNew,omitempty"`
}

// Cell compares the runs of one scenario.
type Cell struct {
	Name string `json:"name"`
	Old  Side   `json:"old"`
	New  Side   `json:"new"`
	// Changed is what is not the same by intention: versions, settings, the
	// machine. It is no difference in behaviour.
	Changed []Fact `json:"changed,omitempty"`
	// Differences are sorted: unexplained, explained, noise.
	Differences []Difference `json:"differences"`
	// NotCompared says what could not be compared, and why.
	NotCompared []string `json:"notCompared,omitempty"`
}

// Side counts the runs of a cell.
type Side struct {
	Runs     int                    `json:"runs"`
	Verdicts map[record.Verdict]int `json:"verdicts"`
}

// Class says what a difference means.
type Class string

// The classes of a difference.
const (
	Unexplained Class = "unexplained"
	Explained   Class = "explained"
	Noise       Class = "noise" // the runs of one side differ in it as well
)

// Difference is one aspect in which the two sides of a cell are not the same.
type Difference struct {
	Aspect  Aspect `json:"aspect"`
	Subject string `json:"subject,omitempty"`
	Old     Sample `json:"old"`
	New     Sample `json:"new"`
	Class   Class  `json:"class"`
	// Why says what explains it, or what was looked at in vain.
	Why string `json:"why,omitempty"`
	// Change is the known change that explains it, if one does.
	Change *Change `json:"change,omitempty"`
	// Follows names the difference that this one is a consequence of.
	Follows string `json:"follows,omitempty"`
}

// Title names what differs: "limit of burstable memory.high".
func (d Difference) Title() string {
	if d.Subject == "" {
		return string(d.Aspect)
	}
	return string(d.Aspect) + " of " + d.Subject
}

// Unexplained counts what the new side has to answer for: differences that
// nothing explains, and scenarios that it has not run.
func (r Report) Unexplained() int { return r.Count(Unexplained) + len(r.OnlyOld) }

// Count counts the differences of a class.
func (r Report) Count(class Class) int {
	n := 0
	for _, c := range r.Cells {
		for _, d := range c.Differences {
			if d.Class == class {
				n++
			}
		}
	}
	return n
}

// ErrNothing says that the sides have no scenario in common.
var ErrNothing = errors.New("no scenario that both sides have run")

// Compare compares two sets of runs. Its errors are about input that can't be
// compared.
func Compare(old, new []Run) (Report, error) {
	was, is := byCell(old), byCell(new)
	var r Report
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if is[name] == nil {
			r.OnlyOld = append(r.OnlyOld, name)
			continue
		}
		c, err := compareCell(name, was[name], is[name])
		errs = append(errs, err)
		r.Cells = append(r.Cells, c)
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] == nil {
			r.OnlyNew = append(r.OnlyNew, name)
		}
	}
	if len(r.Cells) == 0 {
		errs = append(errs, fmt.Errorf("%w: the old side has %v, the new one %v", ErrNothing, r.OnlyOld, r.OnlyNew))
	}
	return r, errors.Join(errs...)
}

func byCell(runs []Run) map[string][]Run {
	cells := map[string][]Run{}
	for _, r := range runs {
		cells[r.cell()] = append(cells[r.cell()], r)
	}
	return cells
}

func compareCell(name string, old, new []Run) (Cell, error) {
	was, err := factsOf(old)
	if err != nil {
		return Cell{}, err
	}
	is, err := factsOf(new)
	if err != nil {
		return Cell{}, err
	}
	c := Cell{Name: name, Old: sideOf(old), New: sideOf(new), Changed: changedFacts(was, is)}
	if d, other := otherScenario(old[0].Record.Scenario, new[0].Record.Scenario); other {
		c.Differences = []Difference{d}
		return c, nil
	}
	c.Differences, c.NotCompared = differences(old, new)
	p := pair{old: finished(old), new: finished(new), was: was, is: is, changed: c.Changed}
	for _, r := range slices.Concat(old, new) {
		if r.Record.Error != "" {
			p.failures = append(p.failures, r.Record.Error)
		}
	}
	p.explain(c.Differences)
	slices.SortStableFunc(c.Differences, func(a, b Difference) int {
		return cmp.Compare(slices.Index(classOrder, a.Class), slices.Index(classOrder, b.Class))
	})
	return c, nil
}

var classOrder = []Class{Unexplained, Explained, Noise}

func sideOf(runs []Run) Side {
	s := Side{Runs: len(runs), Verdicts: map[record.Verdict]int{}}
	for _, r := range runs {
		s.Verdicts[r.Record.Verdict]++
	}
	return s
}

// finished returns the runs that prove something.
func finished(runs []Run) []Run {
	return slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Record.Error != "" })
}

// differences compares what was seen on the two sides, aspect by aspect.
func differences(old, new []Run) (found []Difference, notCompared []string) {
	was, is := collect(old), collect(new)
	found = []Difference{}
	keys := slices.Collect(maps.Keys(was.samples))
	for k := range is.samples {
		if was.samples[k] == nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(slices.Index(aspects, a.aspect), slices.Index(aspects, b.aspect)), cmp.Compare(a.subject, b.subject))
	})
	var few []string
	for _, k := range keys {
		a, b, ok := was.fill(k, is)
		if !ok {
			continue
		}
		class, decided := decide(a, b)
		if !decided {
			few = append(few, Difference{Aspect: k.aspect, Subject: k.subject}.Title())
		}
		if class != "" {
			found = append(found, Difference{Aspect: k.aspect, Subject: k.subject, Old: a.summary(), New: b.summary(), Class: class})
		}
	}
	switch {
	case len(few) == 0:
	case min(was.finished, is.finished) < fewestRuns:
		notCompared = append(notCompared, fmt.Sprintf("times and sizes: that takes %d finished runs on each side", fewestRuns))
	default:
		notCompared = append(notCompared, fmt.Sprintf("%s: fewer than %d runs of one side have it", strings.Join(few, ", "), fewestRuns))
	}
	for _, a := range aspects {
		if was.finished > 0 && is.finished > 0 && a.recordedLater() && was.has(a) != is.has(a) {
			notCompared = append(notCompared, fmt.Sprintf("%s: one side's records have none", a))
		}
	}
	return found, notCompared
}
