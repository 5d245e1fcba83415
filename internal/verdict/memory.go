package verdict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/record"
)

// limitHit: the kernel had to reclaim at the pod's or container's limit.
func limitHit(r *record.Record) (record.Claim, bool) {
	return eachReclaim(r, LimitHit, r.Scenario.Expect.LimitHit, func(c record.Reclaim) (ok bool, seen string) {
		return c.LimitHits > 0, fmt.Sprintf("%s reached its limit %d times", c.Owner.Pod, c.LimitHits)
	})
}

// thrashing is how many pages have to be read again before it is called
// thrashing: 64 MiB in pages of 4 KiB.
const thrashing = 64 << 20 / 4096

// thrashes: what was reclaimed is read again, over and over.
func thrashes(r *record.Record) (record.Claim, bool) {
	return eachReclaim(r, Thrashes, r.Scenario.Expect.Thrashes, func(c record.Reclaim) (ok bool, seen string) {
		return c.RefaultedPages >= thrashing, fmt.Sprintf("%s read %d pages again that had been reclaimed", c.Owner.Pod, c.RefaultedPages)
	})
}

func eachReclaim(r *record.Record, name string, workloads []string, check func(record.Reclaim) (ok bool, seen string)) (record.Claim, bool) {
	if len(workloads) == 0 {
		return record.Claim{}, false
	}
	var all []string
	for _, workload := range workloads {
		i := slices.IndexFunc(r.Reclaim, func(c record.Reclaim) bool { return c.Owner.Workload == workload })
		if i < 0 {
			return claim(name, record.Inconclusive, "the counters of %s were not read", workload), true
		}
		ok, seen := check(r.Reclaim[i])
		if !ok {
			return claim(name, record.Fail, "%s", seen), true
		}
		all = append(all, seen)
	}
	return claim(name, record.Pass, "%s", strings.Join(all, "; ")), true
}

// named: the findings that the story is about were made.
func named(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.Findings
	if len(want) == 0 {
		return record.Claim{}, false
	}
	c := claim(Named, record.Pass, "found: %s", strings.Join(want, ", "))
	for _, name := range want {
		i := slices.IndexFunc(r.Findings, func(f record.Finding) bool { return f.Name == name })
		if i < 0 {
			return claim(Named, record.Fail, "expected the finding %s, and there is none", name), true
		}
		c.Evidence = append(c.Evidence, r.Findings[i].Text)
	}
	return c, true
}
