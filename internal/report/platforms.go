package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/record"
)

// platform is where a scenario ran, as far as its outcome may hang on it.
type platform struct {
	lab, engine, cgroup, kernel, kubelet, lowestAdj string
}

func platformOf(r *record.Record) platform {
	p := platform{
		lab: r.Lab, engine: cmp.Or(r.Node.Versions["engine"], "none"), cgroup: fmt.Sprintf("v%d", r.Host.CgroupVersion),
		kernel: r.Host.Kernel, kubelet: cmp.Or(r.Node.Versions["kubelet"], "none"), lowestAdj: fmt.Sprint(r.Host.LowestAdj),
	}
	if r.VM != nil && r.Node.Versions["engine"] != "" {
		p.engine += " in QEMU " + r.VM.Accelerator
	} else if r.VM != nil {
		p.engine = "QEMU " + r.VM.Accelerator
	}
	return p
}

// row is the platform as it is shown, and its order.
func (p platform) row() string {
	return strings.Join([]string{p.lab, p.engine, p.cgroup, p.kernel, p.kubelet, p.lowestAdj}, " | ")
}

// Platforms writes the page docs/platforms.md: where each scenario really ran,
// by the run records. names is the whole catalog: what no record is of was not
// run. Of several runs of a scenario in one place the latest counts.
func Platforms(w io.Writer, names []string, records []*record.Record) error {
	runs := map[platform]map[string]*record.Record{}
	note := func(p platform, r *record.Record) {
		name := r.Scenario.Metadata.Name
		if before := runs[p][name]; before == nil || before.Started.Before(r.Started) {
			runs[p][name] = r
		}
	}
	var unplaced []*record.Record
	for _, r := range records {
		if r.Scenario == nil {
			continue
		}
		if r.Node.Name == "" {
			unplaced = append(unplaced, r)
			continue
		}
		p := platformOf(r)
		if runs[p] == nil {
			runs[p] = map[string]*record.Record{}
		}
		note(p, r)
	}
	// What the machine lacks something for never got a node: it belongs wherever
	// others ran on such a machine.
	for _, r := range unplaced {
		for p := range runs {
			if own := platformOf(r); r.Verdict == record.Unsupported && p.lab == own.lab && p.kernel == own.kernel && p.cgroup == own.cgroup {
				note(p, r)
			}
		}
	}
	platforms := slices.SortedFunc(maps.Keys(runs), func(a, b platform) int { return strings.Compare(a.row(), b.row()) })

	var b bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	say("# Where it has run\n\nWritten by `oomlab platforms` from run records. What has no record here has not been run there, and of several runs the latest counts.\n\n")
	say("| | lab | engine | cgroups | kernel | kubelet | lowest oom_score_adj | scenarios | first and last run |\n|---|---|---|---|---|---|---:|---:|---|\n")
	for i, p := range platforms {
		first, last := time.Time{}, time.Time{}
		for _, r := range runs[p] {
			started := startOf(r)
			if first.IsZero() || started.Before(first) {
				first = started
			}
			if started.After(last) {
				last = started
			}
		}
		say("| %c | %s | %d | %s |\n", letter(i), p.row(), len(runs[p]), span(first, last))
	}
	say("\nWhere the kubelet is none, scores and cgroups are by its formulas.\n\n| scenario |")
	for i := range platforms {
		say(" %c |", letter(i))
	}
	say("\n|---|%s\n", strings.Repeat("---|", len(platforms)))
	for _, name := range names {
		say("| [%[1]s](catalog.md#%[1]s) |", name)
		for _, p := range platforms {
			say(" %s |", outcome(runs[p][name]))
		}
		say("\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// letter names a platform. There are not so many that they would run out.
func letter(i int) rune { return 'A' + rune(i) }

// startOf is by the clock of whoever ran it: a guest may have one of its own.
func startOf(r *record.Record) time.Time {
	if r.VM != nil {
		return r.VM.Started
	}
	return r.Started
}

func span(first, last time.Time) string {
	a, b := first.UTC().Format(time.DateOnly), last.UTC().Format(time.DateOnly)
	if a == b {
		return a
	}
	return a + " to " + b
}

// outcome says how a run ended. A control that failed as it must is no failure.
func outcome(r *record.Record) string {
	switch {
	case r == nil:
		return "not run"
	case r.Error != "":
		return "not finished"
	case r.Scenario.Control == nil:
		return string(r.Verdict)
	}
	for _, c := range r.Claims {
		if c.Name == r.Scenario.Control.Claim && c.Verdict == record.Fail {
			return "fails, as it must"
		}
	}
	return fmt.Sprintf("**%s**, and should fail by %s", r.Verdict, r.Scenario.Control.Claim)
}
