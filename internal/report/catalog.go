package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/oomlab/oomlab/scenarios"
)

// Catalog writes the page docs/catalog.md.
func Catalog(w io.Writer, all []*scenarios.Scenario) error {
	var b bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	say("# The catalog\n\n")
	say("Written by `oomlab scenarios -o markdown` from the files in `scenarios/catalog`; a test holds it against them.\n")
	say("Unless a scenario says more, it holds for kubelets from %s, Linux from %s, and both versions of cgroups. ",
		scenarios.Needs{}.OldestKubelet(), scenarios.Needs{}.OldestKernel())
	say("The time is that of a run on a kind cluster that is there already. `make e2e` runs those with the label `quick`.\n")
	stories, controls := []*scenarios.Scenario{}, []*scenarios.Scenario{}
	for _, s := range all {
		if s.Control != nil {
			controls = append(controls, s)
		} else {
			stories = append(stories, s)
		}
	}
	table := func(all []*scenarios.Scenario) {
		say("\n| scenario | how it ends | takes |\n|---|---|---:|\n")
		for _, s := range all {
			say("| [%[1]s](#%[1]s) | %s | %s |\n", s.Metadata.Name, s.Title, takes(s))
		}
	}
	table(stories)
	for _, s := range stories {
		describe(say, s)
	}
	say("\n# Negative controls\n\nThese must fail, each by the claim that it names: a claim that can't fail proves nothing.\n")
	table(controls)
	for _, s := range controls {
		describe(say, s)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func takes(s *scenarios.Scenario) string {
	if s.Metadata.Takes.Duration == 0 {
		return "not run yet"
	}
	return s.Metadata.Takes.String()
}

func describe(say func(string, ...any), s *scenarios.Scenario) {
	say("\n## %s\n\n**%s.** %s\n\n", s.Metadata.Name, s.Title, strings.Join(strings.Fields(s.Story), " "))
	if s.Source != "" {
		say("- Source: <%s>\n", s.Source)
	}
	if n := needs(s); n != "" {
		say("- Needs: %s\n", n)
	}
	if s.Control != nil {
		say("- Must fail: `%s`\n", s.Control.Claim)
	}
	say("- Time: %s; labels: `%s`\n", takes(s), strings.Join(s.Metadata.Labels, "`, `"))
}

// needs lists what differs from the defaults.
func needs(s *scenarios.Scenario) string {
	n := s.Needs
	var parts []string
	if n.Kubelet != "" {
		parts = append(parts, fmt.Sprintf("kubelet %s", n.OldestKubelet()))
	}
	if n.Kernel != "" {
		parts = append(parts, fmt.Sprintf("Linux %s", n.OldestKernel()))
	}
	if n.Cgroup != 0 {
		parts = append(parts, fmt.Sprintf("cgroup v%d", n.Cgroup))
	}
	if s.Node.Swap.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%s of swap", s.Node.Swap))
	}
	return strings.Join(parts, ", ")
}
