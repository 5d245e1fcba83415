//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/report"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/internal/verdict"
	"github.com/oomlab/oomlab/scenarios"
)

// scenarioTimeout is for one scenario beside its pressure, on a slow
// and busy machine. Each takes less than a minute on two idle cores.
const scenarioTimeout = 5 * time.Minute

// Within a container Ginkgo sorts specs by their text. Containers it shuffles, but
// for their priorities: so each scenario has one of its own.
var _ = func() bool {
	catalog := inOrder(onKind())
	for i, s := range catalog {
		Describe("When memory runs out", SpecPriority(len(catalog)-i), func() {
			It(s.Title, Label(append(s.Metadata.Labels, "lab:kind", s.Metadata.Name)...), func(ctx SpecContext) {
				play(ctx, s)
			}, SpecTimeout(patience.With(scenarioTimeout+s.Until.Deadline())))
		})
	}
	return true
}()

// onKind returns the catalog as far as it holds on kind.
func onKind() []*scenarios.Scenario {
	var all []*scenarios.Scenario
	for _, name := range scenarios.Names() {
		s, err := scenarios.Named(name)
		if err != nil {
			panic(err) // a test of the package scenarios has seen every file
		}
		if s.Metadata.RunsIn("kind") {
			all = append(all, s)
		}
	}
	return all
}

// play runs a scenario on this process's worker and asserts its verdict.
func play(ctx SpecContext, s *scenarios.Scenario) {
	node := worker()
	AddReportEntry("scenario", s.Metadata.Name, ReportEntryVisibilityNever)
	story := report.NewStory(GinkgoWriter)
	story.Begin(s)
	step := ""
	var objects []byte
	var objectsErr error
	r, err := run.Run(ctx, cluster.Lab(node), s, run.Options{
		Host: facts.Record(),
		Observe: func(e record.Event) {
			if e.Step != step {
				step = e.Step
				By(step)
			}
			story.Event(e)
		},
		BeforeClose: func(ctx context.Context) { objects, objectsErr = cluster.Describe(ctx, node) },
	})
	DeferCleanup(diagnose, s, node, objects)
	if objectsErr != nil {
		AddReportEntry("incomplete objects", objectsErr.Error())
	}
	Expect(writeRecord(r)).To(Succeed())
	if err != nil {
		AddReportEntry("why", err.Error(), ReportEntryVisibilityNever)
	}
	Expect(err).NotTo(HaveOccurred(), "the run could be finished")
	story.End(r)
	AddReportEntry("verdict", entryOf(r), ReportEntryVisibilityNever)
	for _, f := range r.Findings {
		AddReportEntry("finding", f.Name+": "+f.Text)
	}

	if r.Verdict == record.Unsupported {
		Skip(r.Claims[0].Sentence) // with the proof; the summary counts it
	}
	By("judge")
	if s.Control != nil {
		Expect(failures(r)).To(ContainElement(HavePrefix(s.Control.Claim+":")), "the control's claim must fail, or it proves nothing")
	} else {
		for _, line := range failures(r) {
			AddReportEntry("why", line, ReportEntryVisibilityNever)
		}
		Expect(failures(r)).To(BeEmpty(), "every claim passes or is unsupported with proof")
		Expect(r.Verdict).To(Equal(record.Pass))
		Expect(passes(r)).To(BeNumerically(">", 0), "a claim passed by the kernel's evidence")
	}
	expectReady(ctx)
}

// verdictEntry is what the summary needs of a run.
type verdictEntry struct {
	Scenario string         `json:"scenario"`
	Verdict  record.Verdict `json:"verdict"`
	Claims   []record.Claim `json:"claims"`
	Findings int            `json:"findings"`
	// Needless are the kills before the memory of the victim before was back.
	Needless int `json:"needlessKills"`
	// Latencies are the times from the kernel's choice of a victim to its record.
	Latencies []time.Duration `json:"latenciesNanoseconds"`
}

func entryOf(r *record.Record) verdictEntry {
	e := verdictEntry{Scenario: r.Scenario.Metadata.Name, Verdict: r.Verdict, Claims: r.Claims, Findings: len(r.Findings)}
	for _, k := range r.Kills {
		if k.Needless {
			e.Needless++
		}
		if l, known := k.Latency(); known {
			e.Latencies = append(e.Latencies, l)
		}
	}
	return e
}

func (e verdictEntry) String() string { return fmt.Sprintf("%s: %s", e.Scenario, e.Verdict) }

// failures returns the claims that did not hold, a line each.
func failures(r *record.Record) []string {
	var lines []string
	for _, c := range r.Claims {
		if c.Verdict == record.Fail || c.Verdict == record.Inconclusive {
			lines = append(lines, c.Name+": "+c.Sentence)
		}
	}
	return lines
}

func passes(r *record.Record) int {
	n := 0
	for _, c := range r.Claims {
		if c.Verdict == record.Pass && slices.Contains([]string{verdict.Evidence, verdict.Forecast, verdict.Killed}, c.Name) {
			n++
		}
	}
	return n
}

func writeRecord(r *record.Record) error {
	dir := filepath.Join(artifacts, "records")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, r.Scenario.Metadata.Name+".json"))
	if err != nil {
		return err
	}
	return errors.Join(r.Write(f), f.Close())
}

// diagnose keeps what explains a failure: the pods and events of the node as
// they were at the end, the nodes' logs and the kernel's.
func diagnose(ctx SpecContext, s *scenarios.Scenario, node string, objects []byte) {
	if !CurrentSpecReport().Failed() {
		return
	}
	dir := filepath.Join(artifacts, "failed", s.Metadata.Name)
	Expect(os.MkdirAll(dir, 0o755)).To(Succeed())
	Expect(os.WriteFile(filepath.Join(dir, "objects.yaml"), objects, 0o644)).To(Succeed())
	if err := cluster.CollectLogs(filepath.Join(dir, "kind")); err != nil {
		AddReportEntry("incomplete logs", err.Error()) // an image without crictl lacks some
	}
	kmsg, err := kernelLog(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(dir, "kmsg.log"), []byte(kmsg), 0o644)).To(Succeed())
	say("what explains the failure of %s on %s is in %s", s.Metadata.Name, node, strings.TrimPrefix(dir, "../"))
}
