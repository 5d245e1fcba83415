package scenarios

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is written is read as the same scenario.
func TestWrite(t *testing.T) {
	var all []*Scenario
	for _, name := range Names() {
		s, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	score := -5
	more := *all[0]
	more.Workloads = []Workload{{
		Name: "several", Resources: &PodResources{Limits: Resources{Memory: MemoryOf(300 << 20)}},
		Containers: []Container{
			{Name: "a", Press: "ramp 1Gi at 10Mi/s", Beside: []string{"fill 1Mi", "memfd fill 2Mi"}, OOMScoreAdj: &score},
			{Name: "b"},
		},
	}}
	more.Expect, more.Title, more.Control = Expect{}, `Quotes "and": colons, # and so on, in a text that is long enough to be folded, which needs more than one hundred and forty characters, so it goes on and on`, nil
	for _, s := range append(all, &more) {
		var out bytes.Buffer
		if err := s.Write(&out); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again.yaml", bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.Metadata.Name, err, out.String())
		}
		want, _ := json.MarshalIndent(s, "", " ")
		got, _ := json.MarshalIndent(again, "", " ")
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s changes when it is written (-before +after):\n%s\n%s", s.Metadata.Name, diff, out.String())
		}
		if strings.Contains(out.String(), "{}") {
			t.Errorf("%s is written with empty mappings:\n%s", s.Metadata.Name, out.String())
		}
	}
}
