package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

func wrote(pod string, adj int, by string) record.ScoreWrite {
	return record.ScoreWrite{Owner: record.Owner{Pod: pod, Level: "node"}, OOMScoreAdj: adj, By: oomreport.Process{PID: 8, Name: by}}
}

func TestStory(t *testing.T) {
	s := &scenarios.Scenario{
		Metadata: scenarios.Metadata{Name: "order"}, Title: "BestEffort dies first",
		Story: "Three pods share what a node gives to its pods, and a fourth grows until it is used up.",
	}
	var out bytes.Buffer
	story := NewStory(&out)
	story.Begin(s)
	story.Event(record.Event{AtSeconds: 1.5, Step: "kill", Text: "best-effort was killed"})
	story.End(&record.Record{
		Scenario: s, ElapsedSeconds: 7.25, Lab: "cgroup", Host: record.Host{Kernel: "6.12.1"}, Verdict: record.Fail,
		Claims: []record.Claim{
			{Name: "killed", Verdict: record.Pass, Sentence: "best-effort died first"},
			{Name: "survive", Verdict: record.Fail, Sentence: "guaranteed was killed"},
			{Name: "scores", Verdict: record.Unsupported, Sentence: "no CAP_SYS_RESOURCE"},
		},
		ScoreWrites: []record.ScoreWrite{
			wrote("one", 1000, "runc"), wrote("two", 2, "runc"), wrote("one", 1000, "runc"), wrote("", -999, "containerd"),
			wrote("two", 500, "stressor"), wrote("one", 1000, "sh"), wrote("one", 1000, ""),
		},
		Findings: []record.Finding{{Name: "second-kill-before-release", Text: "1 kill"}},
	})
	const want = `order: BestEffort dies first

  Three pods share what a node gives to its pods, and a fourth grows until it is
  used up.

   1.50s  kill      best-effort was killed

  scores   one: 1000 by runc, 2×; then 1000 by sh; then 1000 by /8
  scores   two: 2 by runc; then 500 by stressor

  pass          killed             best-effort died first
  fail          survive            guaranteed was killed
  unsupported   scores             no CAP_SYS_RESOURCE
  finding       second-kill-before-release 1 kill

fail         order in 7.2 s: lab cgroup, 1 pass, 1 fail, 1 unsupported, kernel 6.12.1
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colour, although this is no terminal")
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{"one two three", "one two\nthree"},
		{"one  \n two", "one two"},
		{"incompressible word", "incompressible\nword"},
	} {
		if got := wrap(tc.text, 8); got != tc.want {
			t.Errorf("wrap %q: got %q, want %q", tc.text, got, tc.want)
		}
	}
}
