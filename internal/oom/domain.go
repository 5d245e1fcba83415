package oom

import (
	"errors"
	"fmt"

	"github.com/oomlab/oomlab/internal/mem"
)

// ErrDomain is wrapped by the errors about domains that can't run out of
// memory, or not by what the snapshot says of them.
var ErrDomain = errors.New("can't run out of memory here")

// TotalPages returns the size of d, which oom_score_adj is a share of, as
// constrained_alloc() computes it. Its errors wrap ErrDomain.
func (s Snapshot) TotalPages(d Domain) (TotalPages, error) {
	var terms []Term
	switch d.Constraint {
	case ConstraintNone:
		terms = []Term{{"totalram_pages", s.Kernel.RAM}, {"total_swap_pages", s.Kernel.Swap}}
	case ConstraintCPUSet, ConstraintMemoryPolicy:
		if len(d.Nodes) == 0 {
			return TotalPages{}, fmt.Errorf("%s: %w: name the memory nodes", d.Constraint, ErrDomain)
		}
		for _, n := range d.Nodes {
			if n < 0 || n >= len(s.Kernel.NodePages) {
				return TotalPages{}, fmt.Errorf("%s: %w: the present pages of node %d are not known", d.Constraint, ErrDomain, n)
			}
			terms = append(terms, Term{fmt.Sprintf("node %d", n), s.Kernel.NodePages[n]})
		}
		terms = append(terms, Term{"total_swap_pages", s.Kernel.Swap})
	case ConstraintMemcg:
		c, ok := s.cgroup(d.Path)
		if !ok {
			return TotalPages{}, fmt.Errorf("%s: %w: the snapshot has no such cgroup", d.Path, ErrDomain)
		}
		limit, bounded := c.Limit.Bytes()
		if !bounded {
			return TotalPages{}, fmt.Errorf("%s: %w: its memory limit is %s", d.Path, ErrDomain, c.Limit)
		}
		terms = []Term{{"memory limit", limit.Pages(s.Kernel.PageSize)}, {"swap", s.Kernel.swapRoom(c)}}
	default:
		return TotalPages{}, fmt.Errorf("%q: %w: not a constraint of the kernel", d.Constraint, ErrDomain)
	}
	total := TotalPages{Terms: terms}
	for _, t := range terms {
		total.Pages += t.Pages
	}
	total.Pages = max(total.Pages, 1) // the kernel divides by it
	return total, nil
}

func (s Snapshot) cgroup(path string) (Cgroup, bool) {
	for _, c := range s.Cgroups {
		if c.Path == path {
			return c, true
		}
	}
	return Cgroup{}, false
}

// swapRoom is the swap that mem_cgroup_get_max() adds to the limit of c.
func (k Kernel) swapRoom(c Cgroup) mem.Pages {
	if c.Swappiness == 0 {
		return 0
	}
	limit, bounded := c.SwapLimit.Bytes()
	if !bounded {
		return k.Swap
	}
	room := limit.Pages(k.PageSize)
	if k.CgroupVersion == 1 { // memory.memsw counts memory and swap
		memory, _ := c.Limit.Bytes()
		room = max(0, room-memory.Pages(k.PageSize))
	}
	return min(room, k.Swap)
}

// FirstOverLimit returns the domain that runs out of memory when charge pages
// are charged to the memory cgroup at path and nothing can be reclaimed: of
// that cgroup and its ancestors, going up, the first that would exceed its
// limit (try_charge_memcg). It returns false where all limits hold.
func (s Snapshot) FirstOverLimit(path string, charge mem.Pages) (Domain, bool) {
	t := newTree(s.Cgroups)
	for c := range t.counters(t.nearest(path), s.Kernel) {
		if charge > c.free {
			return Memcg(s.Cgroups[c.cgroup].Path), true
		}
	}
	return Domain{}, false
}
