package e2e

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/scenarios"
)

// inOrder returns scenarios in the order in which two workers are done soonest.
// Those for which a kubelet runs with the same settings are neighbours, so that
// it is restarted seldom. The largest such group comes last, its shortest
// scenarios at the end, so that nobody waits long for the other.
func inOrder(all []*scenarios.Scenario) []*scenarios.Scenario {
	size, longest := map[string]int{}, map[string]time.Duration{}
	for _, s := range all {
		key := settings(s.Node)
		size[key]++
		longest[key] = max(longest[key], s.Metadata.Takes.Duration)
	}
	most := 0
	for _, n := range size {
		most = max(most, n)
	}
	last := func(key string) int {
		if size[key] == most {
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(all), func(a, b *scenarios.Scenario) int {
		x, y := settings(a.Node), settings(b.Node)
		return cmp.Or(
			cmp.Compare(last(x), last(y)), -cmp.Compare(longest[x], longest[y]), cmp.Compare(x, y),
			-cmp.Compare(a.Metadata.Takes.Duration, b.Metadata.Takes.Duration),
		)
	})
}

// settings are what a worker's kubelet is restarted for. The domain is none of
// them, but for what it reserves.
func settings(n scenarios.Node) string {
	key, err := json.Marshal(struct {
		Memory, Swap, Reserved mem.Bytes
		Kubelet                scenarios.Kubelet
	}{n.Memory.Bytes, n.Swap.Bytes, n.Reservation(), n.Kubelet})
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(key)
}
