package report

import (
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

func run(name string, v record.Verdict, claims ...record.Claim) *record.Record {
	return &record.Record{Scenario: &scenarios.Scenario{Metadata: scenarios.Metadata{Name: name}}, Verdict: v, Claims: claims}
}

func TestRounds(t *testing.T) {
	killed := func(v record.Verdict) record.Claim { return record.Claim{Name: "killed", Verdict: v} }
	survive := func(v record.Verdict) record.Claim { return record.Claim{Name: "survive", Verdict: v} }
	steady := run("steady", record.Pass, killed(record.Pass))
	for _, tt := range []struct {
		name   string
		second []*record.Record
		want   int
		line   string
	}{
		{"alike", []*record.Record{steady, run("other", record.Fail, killed(record.Fail), survive(record.Pass))}, 0, "other     fail  fail"},
		{"another verdict", []*record.Record{steady, run("other", record.Pass, killed(record.Pass), survive(record.Pass))}, 1, "other     fail  pass  killed"},
		{"another claim, the same verdict", []*record.Record{steady, run("other", record.Fail, killed(record.Pass), survive(record.Fail))}, 1, "other     fail  fail  killed, survive"},
		{"a claim that was not judged", []*record.Record{steady, run("other", record.Fail, killed(record.Fail))}, 1, "other     fail  fail  survive"},
		{"not run", []*record.Record{steady}, 1, "other     fail  -"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			first := []*record.Record{run("other", record.Fail, killed(record.Fail), survive(record.Pass)), steady}
			differing, err := Rounds(&text, []Round{{"1", first}, {"2", tt.second}})
			if err != nil || differing != tt.want || !strings.Contains(text.String(), "\n"+tt.line) {
				t.Errorf("%d differ, want %d; error %v; want the line %q in\n%s", differing, tt.want, err, tt.line, text.String())
			}
		})
	}
}
