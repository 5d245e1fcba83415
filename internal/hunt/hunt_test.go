package hunt

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/record"
)

func TestParseSeeds(t *testing.T) {
	for text, want := range map[string][]int{
		"7": {7}, "0-3": {0, 1, 2, 3}, "5,0-1": {0, 1, 5}, "1,1-2": {1, 2},
	} {
		if got, err := ParseSeeds(text); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a", "-1", "3-1", "1-", "0-99999", "1,,2"} {
		if got, err := ParseSeeds(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func ended(v record.Verdict, kills ...string) *record.Record {
	r := &record.Record{Verdict: v}
	for _, name := range kills {
		name, needless := strings.CutPrefix(name, "!")
		r.Kills = append(r.Kills, record.Kill{Owner: record.Owner{Workload: name, Pod: name}, Needless: needless})
	}
	return r
}

func TestGroups(t *testing.T) {
	runs := []Run{
		{Seed: 0, Record: ended(record.Pass, "a", "b", "!c")},
		{Seed: 1, Record: ended(record.Pass, "a", "b")},
		{Seed: 2, Record: ended(record.Fail, "b", "a")},
		{Seed: 3, Record: ended(record.Pass, "a", "b")},
		{Seed: 4, Record: ended(record.Fail, "a", "b")},
		{Seed: 5, Error: errors.New("no memory")},
		{Seed: 7, Error: errors.New("no memory")},
		{Seed: 8, Error: errors.New("no memory")},
		{Seed: 6, Record: ended(record.Fail)},
	}
	want := []Group{
		{"a, b", record.Pass, []int{1, 3}},
		{"a, b, c needlessly", record.Pass, []int{0}},
		{"b, a", record.Fail, []int{2}},
		{"a, b", record.Fail, []int{4}},
		{"nobody", record.Fail, []int{6}},
		{"could not be finished", "", []int{5, 7, 8}},
	}
	if diff := cmp.Diff(want, Groups(runs)); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestSeedsRunsEachOnce(t *testing.T) {
	seeds, err := ParseSeeds("0-19")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	now, most := 0, 0
	count := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		now += by
		most = max(most, now)
	}
	told := 0
	runs := Seeds(t.Context(), seeds, 3, func(_ context.Context, seed int) (*record.Record, error) {
		count(1)
		defer count(-1)
		return ended(record.Pass), nil
	}, func(Run) { told++ })
	var got []int
	for _, r := range runs {
		got = append(got, r.Seed)
	}
	if diff := cmp.Diff(seeds, got); diff != "" || told != len(seeds) || most > 3 {
		t.Errorf("told %d, %d at once, seeds (-want +got):\n%s", told, most, diff)
	}
}

func TestSeedsStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	runs := Seeds(ctx, []int{0, 1, 2, 3}, 1, func(context.Context, int) (*record.Record, error) {
		return ended(record.Pass), nil
	}, func(r Run) {
		if r.Seed == 1 {
			cancel()
		}
	})
	if len(runs) != 2 {
		t.Errorf("%d runs, want the two before it was stopped", len(runs))
	}
}

func TestVerdict(t *testing.T) {
	pass, fail, lost := Group{Outcome: "a", Verdict: record.Pass}, Group{Outcome: "b", Verdict: record.Fail}, Group{Outcome: "could not be finished"}
	for _, tt := range []struct {
		groups []Group
		want   record.Verdict
	}{
		{[]Group{pass}, record.Pass},
		{[]Group{fail}, record.Fail},
		{[]Group{pass, fail}, record.Fail},
		{[]Group{pass, {Outcome: "b", Verdict: record.Pass}}, record.Fail},
		{[]Group{pass, fail, lost}, record.Fail},
		{[]Group{pass, lost}, record.Inconclusive},
		{[]Group{lost}, record.Inconclusive},
		{nil, record.Inconclusive},
	} {
		if got := Verdict(tt.groups); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.groups, got, tt.want)
		}
	}
}
