package eviction

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

// uses returns a pod of one container that requests and uses so much memory.
func uses(name string, request, workingSet mem.Bytes) Pod {
	c := qos.Container{Requirements: qos.Requirements{Requests: qos.Resources{Memory: request}}}
	return Pod{Pod: qos.Pod{Name: name, Containers: []qos.Container{c}}, WorkingSet: workingSet}
}

func with(p Pod, priority int32) Pod {
	p.Priority = priority
	return p
}

// order writes a ranking as "a > b = c", ties in order of their names.
func order(ranking []Ranked) string {
	ranking = slices.Clone(ranking)
	slices.SortFunc(ranking, func(a, b Ranked) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), strings.Compare(a.Name, b.Name))
	})
	out := ranking[0].Name
	for i, r := range ranking[1:] {
		if r.Rank == ranking[i].Rank {
			out += " = " + r.Name
		} else {
			out += " > " + r.Name
		}
	}
	return out
}

func TestRank(t *testing.T) {
	blind := Pod{Pod: qos.Pod{Name: "blind"}, NoStats: true}
	for name, tc := range map[string]struct {
		pods []Pod
		want string
	}{
		"unknown usage first":              {[]Pod{uses("big", 0, 9*gi), blind}, "blind > big"},
		"unknown usage, priority":          {[]Pod{with(blind, 7), {Pod: qos.Pod{Name: "low", Priority: 6}, NoStats: true}}, "low > blind"},
		"over its request before priority": {[]Pod{with(uses("under", gi, gi-1), -5), with(uses("over", gi, gi+1), 9)}, "over > under"},
		"at its request is not over it":    {[]Pod{uses("at", gi, gi), uses("over", gi, gi+1)}, "over > at"},
		"priority before size":             {[]Pod{with(uses("large", gi, 9*gi), 1), with(uses("small", gi, 2*gi), 0)}, "small > large"},
		"size":                             {[]Pod{uses("small", gi, 2*gi), uses("large", gi, 2*gi+1)}, "large > small"},
		"size below the request":           {[]Pod{uses("far", 9*gi, gi), uses("near", 2*gi, gi)}, "near > far"},
		"tie":                              {[]Pod{uses("b", gi, 2*gi), uses("a", 2*gi, 3*gi), uses("c", 0, gi-1)}, "a = b > c"},
		"one byte puts best effort over its request":            {[]Pod{uses("burstable", gi, gi), uses("besteffort", 0, 1)}, "besteffort > burstable"},
		"a big burstable goes before it":                        {[]Pod{uses("besteffort", 0, 100*mi), uses("burstable", gi, gi+200*mi)}, "burstable > besteffort"},
		"idle best effort before a burstable below its request": {[]Pod{uses("idle", 0, 0), uses("under", gi, gi/2)}, "idle > under"},
		"exempt pods keep their place":                          {[]Pod{with(uses("critical", 0, gi), 2e9), with(uses("plain", 0, gi), 2e9-1)}, "plain > critical"},
		"unknown usage is no usage":                             {[]Pod{blind, {Pod: qos.Pod{Name: "other"}, NoStats: true, WorkingSet: 7 * gi}}, "blind = other"},
	} {
		if got := order(Rank(tc.pods, 37)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestRankShowsItsNumbers(t *testing.T) {
	pods := []Pod{
		with(uses("critical", gi, 3*gi), 2e9),
		uses("under", 2*gi, gi),
		{Pod: qos.Pod{Namespace: "ns", Name: "blind", Static: true}, NoStats: true},
		uses("twin", gi, 2*gi),
		uses("over", 0, gi),
	}
	want := []Ranked{
		{Namespace: "ns", Name: "blind", Rank: 1, NoStats: true, Exempt: true, AheadBy: StepNoStats},
		{Name: "twin", Rank: 2, WorkingSet: 2 * gi, Request: gi, Excess: gi, Exceeds: true, AheadBy: StepTie},
		{Name: "over", Rank: 2, WorkingSet: gi, Excess: gi, Exceeds: true, AheadBy: StepPriority},
		{Name: "critical", Rank: 4, WorkingSet: 3 * gi, Request: gi, Excess: 2 * gi, Exceeds: true, Priority: 2e9, Exempt: true, AheadBy: StepExceeds},
		{Name: "under", Rank: 5, WorkingSet: gi, Request: 2 * gi, Excess: -gi},
	}
	if diff := gocmp.Diff(want, Rank(pods, 37), cmpopts.IgnoreUnexported(Ranked{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := Rank(nil, 37); len(got) != 0 {
		t.Errorf("Rank of no pods = %v", got)
	}
}

// Up to 1.33 the request of a sidecar was not subtracted.
func TestRankOfSidecarsByVersion(t *testing.T) {
	served := uses("served", gi, 2*gi)
	served.Containers = append(served.Containers, qos.Container{
		Kind: qos.Sidecar, Requirements: qos.Requirements{Requests: qos.Resources{Memory: gi}},
	})
	pods := []Pod{served, uses("alone", gi, gi+gi/2)}
	for v, want := range map[qos.Version]string{33: "served > alone", 34: "alone > served"} {
		if got := order(Rank(pods, v)); got != want {
			t.Errorf("kubelet %s: %s, want %s", v, got, want)
		}
	}
}

func randomPods(r *rand.Rand) []Pod {
	pods := make([]Pod, 1+r.IntN(12))
	for i := range pods {
		p := uses(fmt.Sprintf("%02d", i), mem.Bytes(r.IntN(3))*gi, mem.Bytes(r.IntN(4))*gi)
		p.NoStats = r.IntN(8) == 0
		pods[i] = with(p, int32(r.IntN(3)))
	}
	return pods
}

func TestRankDoesNotDependOnTheOrderOfPods(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		pods := randomPods(r)
		before := order(Rank(pods, 37))
		r.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
		if after := order(Rank(pods, 37)); after != before {
			t.Fatalf("%s, shuffled %s: %+v", before, after, pods)
		}
	}
}

func TestMoreMemoryNeverHelpsAPod(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	place := func(ranking []Ranked, name string) int {
		return ranking[slices.IndexFunc(ranking, func(r Ranked) bool { return r.Name == name })].Rank
	}
	for range 5_000 {
		pods := randomPods(r)
		name := pods[0].Name
		before := place(Rank(pods, 37), name)
		pods[0].WorkingSet += gi
		if after := place(Rank(pods, 37), name); after > before {
			t.Fatalf("%s fell from place %d to %d with more memory: %+v", name, before, after, pods)
		}
	}
}
