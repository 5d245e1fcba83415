package selfcheck

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"path/filepath"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
)

// Experiment is a set of processes in nested cgroups, of which one grows until
// a limit is reached.
type Experiment struct {
	// Seed and Number are what Draw made it from.
	Seed   uint64 `json:"seed"`
	Number int    `json:"number"`
	// Cgroups are the arena's, parents first; the first one bounds it all.
	Cgroups []Cgroup `json:"cgroups"`
	// Processes start in this order. Those of a cgroup that has children of its
	// own would be refused by cgroup v2, so there are none.
	Processes []Process `json:"processes"`
	// Grower is the index of the process that grows.
	Grower int `json:"grower"`
}

// Cgroup is one cgroup of an arena.
type Cgroup struct {
	// Path is relative to the arena: ".", "a", "a/b".
	Path string `json:"path"`
	// Limit is absent where there is none.
	Limit mem.Limit `json:"limitBytes"`
	// Group is memory.oom.group (cgroup v2).
	Group bool `json:"oomGroup,omitempty"`
}

// Process is one stressor.
type Process struct {
	Cgroup string    `json:"cgroup"` // Path of a Cgroup
	Size   mem.Bytes `json:"sizeBytes"`
	Adj    int       `json:"oomScoreAdj"`
}

// The bounds of what is drawn.
const (
	smallestArena = 16 * mem.MiB
	largestArena  = 64 * mem.MiB
	mostCgroups   = 4 // below the arena's own
	mostProcesses = 5
	// smallestSize keeps a victim larger than what the grower takes beyond a
	// limit, so that one kill is always enough and any other one is needless.
	smallestSize = 3 * mem.MiB
	page         = 4 * mem.KiB
	// ownCharge is what a stressor that holds nothing is charged, slack what of
	// each limit stays free for what varies.
	ownCharge, slack = 1536 * mem.KiB, 1 * mem.MiB
)

// Draw makes the experiment of that number, always the same one. Group flags
// need cgroup v2; no score is below lowestAdj.
func Draw(seed uint64, number int, groups bool, lowestAdj int) Experiment {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	for {
		e := Experiment{Seed: seed, Number: number}
		e.drawCgroups(r, groups)
		if e.drawProcesses(r, lowestAdj) {
			return e
		}
	}
}

func (e *Experiment) drawCgroups(r *rand.Rand, groups bool) {
	between := func(low, high mem.Bytes) mem.Limit {
		return mem.LimitOf((low + mem.Bytes(r.Int64N(int64(high-low)))) / page * page)
	}
	e.Cgroups = []Cgroup{{Path: ".", Limit: between(smallestArena, largestArena)}}
	bound := map[string]mem.Limit{".": e.Cgroups[0].Limit}
	for i := range r.IntN(mostCgroups + 1) {
		parent := e.Cgroups[r.IntN(len(e.Cgroups))].Path
		c := Cgroup{Path: path.Join(parent, string(rune('a'+i)))}
		above, _ := bound[parent].Bytes()
		bound[c.Path] = bound[parent]
		if r.IntN(2) == 0 {
			c.Limit = between(above/2, above)
			bound[c.Path] = c.Limit
		}
		c.Group = groups && r.IntN(4) == 0
		e.Cgroups = append(e.Cgroups, c)
	}
}

// drawProcesses reports false where those drawn do not fit.
func (e *Experiment) drawProcesses(r *rand.Rand, lowestAdj int) bool {
	var leaves []string
	for _, c := range e.Cgroups {
		if !e.hasChildren(c.Path) {
			leaves = append(leaves, c.Path)
		}
	}
	whole, _ := e.Cgroups[0].Limit.Bytes()
	n := 2 + r.IntN(mostProcesses-1)
	for range n {
		p := Process{
			Cgroup: leaves[r.IntN(len(leaves))],
			Size:   (smallestSize + mem.Bytes(r.Int64N(int64(whole)/2))) / page * page,
			Adj:    lowestAdj + r.IntN(1000-lowestAdj+1),
		}
		switch r.IntN(8) { // the scores that a kubelet gives most, and none at all
		case 0:
			p.Adj = 1000
		case 1:
			p.Adj = max(-997, lowestAdj)
		case 2:
			p.Adj = 0
		}
		e.Processes = append(e.Processes, p)
	}
	e.Grower = r.IntN(n)
	for _, c := range e.Cgroups {
		if limit, bounded := c.Limit.Bytes(); bounded && e.charged(c.Path) > limit-slack {
			return false
		}
	}
	return true
}

func (e *Experiment) hasChildren(cgroup string) bool {
	for _, c := range e.Cgroups {
		if c.Path != cgroup && path.Dir(c.Path) == cgroup {
			return true
		}
	}
	return false
}

// charged is what the processes within a cgroup will hold.
func (e *Experiment) charged(cgroup string) (sum mem.Bytes) {
	for _, p := range e.Processes {
		if isWithin(p.Cgroup, cgroup) {
			sum += p.Size + p.Size/512 + ownCharge
		}
	}
	return sum
}

// isWithin reports whether the relative path is ancestor or lies below it.
func isWithin(p, ancestor string) bool {
	for ; p != ancestor; p = path.Dir(p) {
		if p == "." {
			return false
		}
	}
	return true
}

// Validate refuses what could endanger the machine or can't be played: an
// experiment may come from a file.
func (e Experiment) Validate() error {
	if len(e.Cgroups) == 0 || e.Cgroups[0].Path != "." {
		return errors.New("experiment: the first cgroup must be the arena's own, \".\"")
	}
	if limit, bounded := e.Cgroups[0].Limit.Bytes(); !bounded || limit > largestArena {
		return fmt.Errorf("experiment: the arena's limit is %s: want at most %s", e.Cgroups[0].Limit, largestArena)
	}
	known := map[string]bool{}
	for _, c := range e.Cgroups {
		if !filepath.IsLocal(c.Path) || c.Path != path.Clean(c.Path) || known[c.Path] || c.Path != "." && !known[path.Dir(c.Path)] {
			return fmt.Errorf("experiment: cgroup %q: want clean paths below the arena, parents first", c.Path)
		}
		known[c.Path] = true
	}
	for _, p := range e.Processes {
		if !known[p.Cgroup] || p.Size <= 0 || p.Adj < oom.OOMScoreAdjMin || p.Adj > oom.OOMScoreAdjMax {
			return fmt.Errorf("experiment: process %+v: want a cgroup that is there, a size, and an oom_score_adj from -1000 to 1000", p)
		}
	}
	if e.Grower < 0 || e.Grower >= len(e.Processes) {
		return fmt.Errorf("experiment: grower %d: there are %d processes", e.Grower, len(e.Processes))
	}
	return nil
}
