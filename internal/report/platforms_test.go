package report

import (
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

func ranOn(scenario, engine string, cgroup, day int, v record.Verdict) *record.Record {
	r := &record.Record{
		Lab: "kind", Started: time.Date(2026, 11, day, 12, 0, 0, 0, time.UTC), Verdict: v,
		Host:     record.Host{Kernel: "6.12.1", CgroupVersion: cgroup, LowestAdj: -1000},
		Node:     record.Node{Name: "w", Versions: map[string]string{"engine": engine, "kubelet": "v1.37.2"}},
		Scenario: &scenarios.Scenario{},
	}
	r.Scenario.Metadata.Name = scenario
	return r
}

func TestPlatforms(t *testing.T) {
	failed := ranOn("c", "docker 26", 2, 3, record.Fail)
	failed.Scenario.Control = &scenarios.Control{Claim: "killed"}
	failed.Claims = []record.Claim{{Name: "killed", Verdict: record.Fail}}
	passed := ranOn("c", "podman 4", 1, 3, record.Pass)
	passed.Scenario.Control = failed.Scenario.Control
	stopped := ranOn("b", "podman 4", 1, 2, record.Inconclusive)
	stopped.Error = "interrupted"
	nowhere := ranOn("d", "podman 4", 1, 2, record.Inconclusive)
	nowhere.Node = record.Node{}
	lacking := ranOn("e", "", 2, 4, record.Unsupported)
	lacking.Node = record.Node{}
	var b strings.Builder
	if err := Platforms(&b, []string{"a", "b", "c", "d", "e"}, []*record.Record{
		ranOn("a", "docker 26", 2, 4, record.Fail), ranOn("a", "docker 26", 2, 1, record.Pass), // the later one counts
		ranOn("a", "podman 4", 1, 2, record.Pass), failed, passed, stopped, nowhere, lacking,
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| A | kind | docker 26 | v2 | 6.12.1 | v1.37.2 | -1000 | 3 | 2026-11-03 to 2026-11-04 |\n",
		"| B | kind | podman 4 | v1 | 6.12.1 | v1.37.2 | -1000 | 3 | 2026-11-02 to 2026-11-03 |\n",
		"| [a](catalog.md#a) | fail | pass |\n",
		"| [b](catalog.md#b) | not run | not finished |\n",
		"| [c](catalog.md#c) | fails, as it must | **pass**, and should fail by killed |\n",
		"| [d](catalog.md#d) | not run | not run |\n",
		"| [e](catalog.md#e) | unsupported | not run |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
