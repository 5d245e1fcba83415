// Package hunt looks for schedules under which somebody else dies: it runs one
// scenario with many seeds, each of them a schedule that can be run again, and
// groups what happened.
package hunt

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/oomlab/oomlab/internal/record"
)

// Run is one seed and what came of it: a record or an error.
type Run struct {
	Seed   int
	Record *record.Record
	Error  error
}

// Player runs the scenario with a seed.
type Player func(ctx context.Context, seed int) (*record.Record, error)

// Seeds runs every seed, some at a time, and returns the runs in their order.
// It calls done after each of them, one call at a time. When ctx ends the seeds
// that are left are not begun, and are not in the result.
func Seeds(ctx context.Context, seeds []int, parallel int, play Player, done func(Run)) []Run {
	var (
		mu   sync.Mutex
		runs []Run
		next int
		all  sync.WaitGroup
	)
	take := func() (seed int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(seeds) || ctx.Err() != nil {
			return 0, false
		}
		next++
		return seeds[next-1], true
	}
	for range min(parallel, len(seeds)) {
		all.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				r := Run{Seed: seed}
				r.Record, r.Error = play(ctx, seed)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				runs = append(runs, r)
				done(r)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.Seed, b.Seed) })
	return runs
}

// Outcome says who was killed, in the kernel's order. A victim that died before
// the memory of the one before was back is said to have died needlessly.
func (r Run) Outcome() string {
	if r.Error != nil {
		return "could not be finished"
	}
	var names []string
	for _, k := range r.Record.Kills {
		name := k.Owner.String()
		if k.Needless {
			name += " needlessly"
		}
		names = append(names, name)
	}
	if names == nil {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// Group is the runs that ended alike.
type Group struct {
	Outcome string         `json:"outcome"`
	Verdict record.Verdict `json:"verdict,omitempty"`
	Seeds   []int          `json:"seeds"`
}

// Groups sorts runs by what happened and how it was judged, the most common
// first; of equals the one with the lowest seed. What could not be finished
// comes last: it has no verdict.
func Groups(runs []Run) []Group {
	type key struct {
		outcome string
		verdict record.Verdict
	}
	byKey := map[key]*Group{}
	var groups []*Group
	for _, r := range runs {
		k := key{outcome: r.Outcome()}
		if r.Record != nil && r.Error == nil {
			k.verdict = r.Record.Verdict
		}
		if byKey[k] == nil {
			byKey[k] = &Group{Outcome: k.outcome, Verdict: k.verdict}
			groups = append(groups, byKey[k])
		}
		byKey[k].Seeds = append(byKey[k].Seeds, r.Seed)
	}
	slices.SortStableFunc(groups, func(a, b *Group) int {
		if (a.Verdict == "") != (b.Verdict == "") {
			return cmp.Compare(b.Verdict, a.Verdict)
		}
		return cmp.Compare(len(b.Seeds), len(a.Seeds))
	})
	var sorted []Group
	for _, g := range groups {
		sorted = append(sorted, *g)
	}
	return sorted
}

// Verdict is fail where the schedule decides who dies or how that is judged,
// and otherwise what all of the runs have; inconclusive where one could not be
// finished, or there is none.
func Verdict(groups []Group) record.Verdict {
	switch {
	case len(groups) > 1 && groups[1].Verdict != "":
		return record.Fail
	case len(groups) != 1 || groups[0].Verdict == "":
		return record.Inconclusive
	}
	return groups[0].Verdict
}

// maxSeeds bounds a typing error.
const maxSeeds = 10000

// ParseSeeds reads "0-31", "7" and lists of both, "0-3,12". No seed comes twice.
func ParseSeeds(text string) ([]int, error) {
	var seeds []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, lastErr := strconv.Atoi(last)
		if err != nil || lastErr != nil || from < 0 || to < from {
			return nil, fmt.Errorf("seeds %q: want numbers and ranges, such as 0-31 or 0-3,12", text)
		}
		if to-from >= maxSeeds {
			return nil, fmt.Errorf("seeds %q: want at most %d", text, maxSeeds)
		}
		for seed := from; seed <= to; seed++ {
			seeds = append(seeds, seed)
		}
	}
	slices.Sort(seeds)
	return slices.Compact(seeds), nil
}
