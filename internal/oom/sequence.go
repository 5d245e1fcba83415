package oom

import (
	"errors"
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
)

// Pressure says how memory runs out: one process, the grower, takes all that
// is free, and again after each kill.
type Pressure struct {
	// Grower is the pid of the process that grows.
	Grower int `json:"grower"`
	// Sharers are processes that grow together with it, in equal shares.
	Sharers []int `json:"sharers,omitempty"`
	// Unmapped says that what is taken is charged to the grower's cgroup and
	// mapped by no process, as a file on a tmpfs: no kill gives it back.
	Unmapped bool `json:"unmapped,omitempty"`
	// Peak is the memory, resident in all growers or unmapped, at which they
	// stop. 0: they never do.
	Peak mem.Pages `json:"peakPages,omitempty"`
	// Kills is after how many steps to stop. 0: when the grower stops or dies.
	Kills int `json:"kills,omitempty"`
	// Restart is the resident memory of the process that takes the place of
	// each victim, as in a restarted container; it needs Kills. 0: nothing
	// comes back.
	Restart mem.Pages `json:"restartPages,omitempty"`
}

// Sequence is a forecast of successive kills.
type Sequence struct {
	Steps []Step `json:"steps"`
	// End says why there is no further step.
	End string `json:"end"`
}

// Step is one kill of a Sequence. After a step that is a tie or undetermined
// the sequence goes on with the victim that the rule names, so what follows is
// only as certain as that step.
type Step struct {
	Prediction
	// Growth is what the grower took before this step.
	Growth mem.Pages `json:"growthPages"`
	// GrowerRSS is the resident memory of all growers in this step.
	GrowerRSS mem.Pages `json:"growerRSSPages"`
	// Freed is what the kill gave back, all processes of a group together.
	Freed mem.Pages `json:"freedPages"`
}

// PredictSequence says whom the kernel kills, one after the other, under p. The
// domain of each step is the limit that the grower meets first, or the whole
// machine where less is available than up to any limit.
//
// It takes a kill to give back all that the victim held, page tables included.
// Room in swap is not modelled, and a caveat says so where there is any.
func PredictSequence(s Snapshot, p Pressure) (Sequence, error) {
	if err := s.Validate(); err != nil {
		return Sequence{}, err
	}
	if p.Restart > 0 && p.Kills == 0 {
		return Sequence{}, errors.New("restartPages is set: set kills too, or victims come back for ever")
	}
	for _, pid := range append([]int{p.Grower}, p.Sharers...) {
		if s.find(pid) == nil {
			return Sequence{}, fmt.Errorf("grower: the snapshot has no task %d", pid)
		}
	}
	s.Cgroups, s.Tasks = slices.Clone(s.Cgroups), slices.Clone(s.Tasks)
	var seq Sequence
	var unmapped mem.Pages
	for p.Kills == 0 || len(seq.Steps) < p.Kills {
		growers := s.growers(p)
		if len(growers) == 0 {
			seq.End = "the grower is killed"
			return seq, nil
		}
		room, d, err := s.room(growers[0].Cgroup)
		if err != nil {
			return Sequence{}, err
		}
		if held := unmapped + rssOf(growers); p.Peak > 0 && held+room >= p.Peak {
			seq.End = "the grower reaches its peak"
			return seq, nil
		}
		if p.Unmapped {
			unmapped += room
		} else {
			share(growers, room)
		}
		s.use(growers[0].Cgroup, room, 0)
		step := Step{Growth: room, GrowerRSS: rssOf(growers)}
		if step.Prediction, err = Predict(s, d, growers[0].PID); err != nil {
			return Sequence{}, err
		}
		if s.Kernel.Swap > 0 {
			step.Caveats = append(step.Caveats, "the machine has swap: memory that moves there delays this kill")
		}
		step.Freed = s.kill(step.Prediction, p.Restart)
		seq.Steps = append(seq.Steps, step)
		if step.Victim == 0 {
			seq.End = step.Reason
			return seq, nil
		}
	}
	seq.End = "as many kills as asked for"
	if len(s.growers(p)) == 0 {
		seq.End = "the grower is killed"
	}
	return seq, nil
}

// growers returns those that are still alive.
func (s *Snapshot) growers(p Pressure) (alive []*Task) {
	for _, pid := range append([]int{p.Grower}, p.Sharers...) {
		if t := s.find(pid); t != nil {
			alive = append(alive, t)
		}
	}
	return alive
}

func rssOf(tasks []*Task) (sum mem.Pages) {
	for _, t := range tasks {
		sum += t.RSS()
	}
	return sum
}

// share lets the tasks take n pages in equal shares; the first takes the rest.
func share(tasks []*Task, n mem.Pages) {
	each := n / mem.Pages(len(tasks))
	for _, t := range tasks {
		t.Anon += each
	}
	tasks[0].Anon += n - each*mem.Pages(len(tasks))
}

// room returns how many pages can be charged to the memory cgroup at path
// before something runs out of memory, and what does.
func (s *Snapshot) room(path string) (room mem.Pages, d Domain, err error) {
	known := s.Available != nil
	if known {
		room, d = *s.Available, Global
	}
	t := newTree(s.Cgroups)
	for c := range t.counters(t.nearest(path), s.Kernel) {
		free := max(0, c.free+s.Cgroups[c.cgroup].Reclaimable.Pages(s.Kernel.PageSize))
		if !known || free < room {
			room, d, known = free, Memcg(s.Cgroups[c.cgroup].Path), true
		}
	}
	if !known {
		return room, d, fmt.Errorf("%s: %w: no limit holds here; say in availablePages what the machine has left", path, ErrDomain)
	}
	return room, d, nil
}

// use adds memory and swap to the usage of the cgroup at path and of those
// above it, and takes the memory from the machine.
func (s *Snapshot) use(path string, memory, swap mem.Pages) {
	t := newTree(s.Cgroups)
	for a := range t.ancestors(t.nearest(path)) {
		// A victim's rss may exceed what its cgroup pays for: shared pages are
		// charged to whoever touched them first.
		c := &s.Cgroups[a]
		c.Usage = max(0, c.Usage+memory.Bytes(s.Kernel.PageSize))
		c.SwapUsage = max(0, c.SwapUsage+swap.Bytes(s.Kernel.PageSize))
	}
	if s.Available != nil {
		left := max(0, *s.Available-memory)
		s.Available = &left
	}
}

// kill removes the processes that p kills and returns what they held in
// memory. A new process of restart pages, with a made-up pid, takes the place
// of the victim.
func (s *Snapshot) kill(p Prediction, restart mem.Pages) (freed mem.Pages) {
	for _, pid := range p.Kills {
		t := *s.find(pid)
		held := t.RSS() + t.PageTables.Pages(s.Kernel.PageSize)
		freed += held
		s.use(t.Cgroup, -held, -t.Swap)
		s.Tasks = slices.DeleteFunc(s.Tasks, func(t Task) bool { return t.PID == pid })
		if pid != p.Victim || restart == 0 {
			continue
		}
		again := Task{
			PID: t.PID + 1, Order: t.Order, Threads: t.Threads,
			Name: t.Name, Cgroup: t.Cgroup, OOMScoreAdj: t.OOMScoreAdj, Anon: restart,
		}
		for _, other := range s.Tasks {
			again.PID = max(again.PID, other.PID+1)
			again.Order = max(again.Order, other.Order+1) // mutate: any later place is the last one
		}
		s.Tasks = append(s.Tasks, again)
		s.use(again.Cgroup, restart, 0)
	}
	return freed
}
