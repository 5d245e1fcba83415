package evidence

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/record"
)

// readCounters takes the place of readKmsg and readTrace where neither may be
// read, as for an ordinary user: the counters of the cgroups say that somebody
// was killed, and the census who it was. It knows neither what ran out nor what
// the kernel chose from, and is late by up to censusInterval.
func (r *Recorder) readCounters(ctx context.Context) {
	heard, attributed := map[string]int{}, map[string]int{}
	claimed := map[int]bool{}
	tick := time.NewTicker(censusInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		counts := r.Census.Kills()
		for _, cgroup := range slices.Sorted(maps.Keys(counts)) {
			n := counts[cgroup]
			if n > heard[cgroup] {
				heard[cgroup] = n
				r.marked()
			}
			for n > attributed[cgroup] {
				m, found := r.Census.victim(cgroup, claimed, n-attributed[cgroup])
				if !found {
					break
				}
				claimed[m.PID] = true
				attributed[cgroup]++
				r.noteCounted(m)
			}
		}
	}
}

// victim returns one of the cgroup's processes that has been killed, of which
// there are missing. They are those that have ended, or all where no more are
// left.
func (c *Census) victim(cgroup string, claimed map[int]bool, missing int) (Member, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var here []Member
	for _, m := range c.members {
		if m.Cgroup == cgroup && !claimed[m.PID] {
			here = append(here, m)
		}
	}
	if len(here) == 0 {
		return Member{}, false
	}
	alive := func(m Member) int {
		if m.Alive {
			return 1
		}
		return 0
	}
	slices.SortFunc(here, func(a, b Member) int {
		return cmp.Or(cmp.Compare(alive(a), alive(b)), cmp.Compare(a.Started, b.Started), cmp.Compare(a.PID, b.PID))
	})
	return here[0], !here[0].Alive || len(here) <= missing
}

// noteCounted takes a kill from a counter.
func (r *Recorder) noteCounted(m Member) {
	now := time.Now()
	group, err := r.hierarchy.OOMGroup(m.Cgroup)
	k := record.Kill{
		Time: now, Recorded: &now, PID: m.PID, Owner: r.node.Owner(m.Cgroup), Main: m.Main, TaskCgroup: m.Cgroup, Group: group && err == nil,
	}
	r.mu.Lock()
	if t, known := r.tasks[m.PID]; known {
		k.Name, k.OOMScoreAdj, k.Freed = t.Name, t.OOMScoreAdj, t.RSS().Bytes(r.pageSize)
	}
	r.mu.Unlock()
	r.deliver(k)
}

// Know tells the recorder what the processes were like before the pressure: all
// that there is to say about a victim which only a counter tells of.
func (r *Recorder) Know(s oom.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pageSize, r.tasks = s.Kernel.PageSize, map[int]oom.Task{}
	for _, t := range s.Tasks {
		r.tasks[t.PID] = t
	}
}
