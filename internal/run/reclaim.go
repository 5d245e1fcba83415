package run

import (
	"path"
	"slices"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// readReclaim reads the counters of every pod that the scenario claims to be
// short of memory. Before the pressure it notes where they stand, afterwards
// what has been added. A pod that is gone keeps what was known.
func (r *runner) readReclaim(sign int) error {
	claimed := append(slices.Clone(r.scenario.Expect.LimitHit), r.scenario.Expect.Thrashes...)
	seen := map[string]bool{}
	for _, m := range r.recorder.Census.Alive() {
		o := r.node.Owner(m.Cgroup)
		pod := path.Dir(m.Cgroup)
		if o.Level != qos.LevelContainer || !slices.Contains(claimed, o.Workload) || seen[pod] {
			continue
		}
		seen[pod] = true
		hits, refaults, err := r.hierarchy.Reclaim(pod)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(r.record.Reclaim, func(c record.Reclaim) bool { return c.Owner.Pod == o.Pod })
		if i < 0 {
			i = len(r.record.Reclaim)
			r.record.Reclaim = append(r.record.Reclaim, record.Reclaim{
				Owner: record.Owner{Workload: o.Workload, Pod: o.Pod, Level: qos.LevelPod},
			})
		}
		r.record.Reclaim[i].LimitHits += int64(sign) * hits
		r.record.Reclaim[i].RefaultedPages += int64(sign) * int64(refaults)
	}
	return nil
}
