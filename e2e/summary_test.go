//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/oomlab/oomlab/internal/proc"
	"github.com/oomlab/oomlab/internal/record"
)

// say writes a line for whoever watches, whatever the verbosity.
func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

// kernelLog returns the kernel's ring buffer.
func kernelLog(ctx context.Context) (string, error) {
	out, err := proc.Output(proc.Command(ctx, "dmesg"))
	return string(out), err
}

// The last lines of the run: what ran, and what this host could not do. They go
// to a file, since Ginkgo keeps what its parallel processes print.
var _ = ReportAfterSuite("summary", func(suite Report) {
	var b strings.Builder
	ran, passed, skipped, claims, findings, needless := 0, 0, 0, 0, 0, 0
	var latencies []time.Duration
	unsupported := map[string][]string{}
	for _, spec := range suite.SpecReports {
		v := verdictOf(spec)
		// Specs that the filter leaves out have no verdict; one that this machine
		// lacks something for has.
		if spec.LeafNodeType != types.NodeTypeIt || v.Verdict == "" && spec.State.Is(types.SpecStateSkipped|types.SpecStatePending) {
			continue
		}
		state := spec.State.String()
		switch {
		case v.Verdict == record.Unsupported:
			skipped++
			state = string(v.Verdict)
		case spec.State.Is(types.SpecStatePassed):
			passed++
			ran++
		default:
			ran++
		}
		latencies = append(latencies, v.Latencies...)
		fmt.Fprintf(&b, "%-11s %5.1fs  %-24s %s\n", state, spec.RunTime.Seconds(), v.Scenario, spec.LeafNodeText)
		if spec.Failed() {
			for _, line := range why(spec) {
				fmt.Fprintf(&b, "    %s\n", line)
			}
		}
		findings += v.Findings
		needless += v.Needless
		for _, c := range v.Claims {
			if c.Verdict == record.Unsupported {
				unsupported[c.Missing] = append(unsupported[c.Missing], v.Scenario+"/"+c.Name)
				claims++
			}
		}
	}
	for _, why := range slices.Sorted(maps.Keys(unsupported)) {
		fmt.Fprintf(&b, "unsupported: %s\n    %s\n", why, strings.Join(unsupported[why], ", "))
	}
	if n := len(latencies); n > 0 {
		slices.Sort(latencies)
		fmt.Fprintf(&b, "from the kernel's choice of a victim to its record: median %s, p99 %s, of %d kills\n",
			latencies[n/2].Round(time.Microsecond), latencies[(n*99+99)/100-1].Round(time.Microsecond), n)
	}
	fmt.Fprintf(&b, "e2e: ran %d scenarios: %d passed, %d failed; %d unsupported here; %d claims unsupported, %d findings, %d needless kills\n", ran, passed, ran-passed, skipped, claims, findings, needless)
	fmt.Fprintf(&b, "%d passed, %d failed\n", passed, ran-passed)
	if err := os.WriteFile(filepath.Join(artifacts, "summary.txt"), []byte(b.String()), 0o644); err != nil {
		Fail("write the summary: " + err.Error())
	}
})

// why returns the reasons of a failure, a line each.
func why(spec types.SpecReport) []string {
	var lines []string
	for _, entry := range spec.ReportEntries {
		if entry.Name == "why" {
			lines = append(lines, strings.ReplaceAll(entry.StringRepresentation(), "\n", "; "))
		}
	}
	if lines == nil {
		message, _, _ := strings.Cut(spec.FailureMessage(), "\n")
		lines = append(lines, message)
	}
	return lines
}

// verdictOf reads the report entry of a scenario. What another process reports
// has been through JSON.
func verdictOf(spec types.SpecReport) verdictEntry {
	var v verdictEntry
	for _, entry := range spec.ReportEntries {
		if own, ok := entry.GetRawValue().(verdictEntry); ok {
			return own
		}
		if entry.Name == "scenario" {
			v.Scenario = entry.StringRepresentation() // all there is if the run could not be finished
		}
		if entry.Name == "verdict" && json.Unmarshal([]byte(entry.Value.AsJSON), &v) == nil {
			return v
		}
	}
	return v
}
