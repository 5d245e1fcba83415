package oom

import (
	"cmp"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// tree is the hierarchy of a snapshot's cgroups. A cgroup is named by its
// index in the snapshot; none is the parent of a root.
type tree struct {
	cgroups []Cgroup
	index   map[string]int
	parent  []int
	rank    []int // position in the kernel's pre-order walk
}

const none = -1 // mutate: any number that is no index

func newTree(cgroups []Cgroup) tree {
	t := tree{
		cgroups: cgroups,
		index:   make(map[string]int, len(cgroups)),
		parent:  make([]int, len(cgroups)),
		rank:    make([]int, len(cgroups)),
	}
	for i, c := range cgroups {
		t.index[c.Path] = i
	}
	children := make(map[int][]int)
	for i, c := range cgroups {
		t.parent[i] = none
		if c.Path != "/" {
			t.parent[i] = t.nearest(path.Dir(c.Path))
		}
		children[t.parent[i]] = append(children[t.parent[i]], i)
	}
	next := 0
	var walk func(int)
	walk = func(parent int) { // as css_next_descendant_pre() does
		siblings := children[parent]
		slices.SortStableFunc(siblings, func(a, b int) int { return cmp.Compare(cgroups[a].ID, cgroups[b].ID) })
		for _, i := range siblings {
			t.rank[i] = next
			next++
			walk(i)
		}
	}
	walk(none)
	return t
}

// nearest returns the cgroup at p or, where the snapshot lacks it, the nearest
// one above.
func (t tree) nearest(p string) int {
	for strings.HasPrefix(p, "/") {
		if i, ok := t.index[p]; ok {
			return i
		}
		if p == "/" {
			break
		}
		p = path.Dir(p)
	}
	return none
}

// ancestors yields the cgroup i and those above it, going up.
func (t tree) ancestors(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for ; i != none && yield(i); i = t.parent[i] {
		}
	}
}

// isWithin reports whether the cgroup at p is ancestor or lies below it.
func isWithin(p, ancestor string) bool {
	rest, ok := strings.CutPrefix(p, strings.TrimSuffix(ancestor, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// counter is a page counter with a limit that a charge is tried against.
type counter struct {
	cgroup int
	free   mem.Pages // below the limit; negative when over it
}

// counters yields the limits that a charge to the cgroup i meets, in the order
// in which try_charge_memcg() tries them: going up, and with cgroup v1 all the
// memory+swap counters before the first memory counter.
func (t tree) counters(i int, k Kernel) iter.Seq[counter] {
	return func(yield func(counter) bool) {
		if k.CgroupVersion == 1 {
			for a := range t.ancestors(i) {
				c := t.cgroups[a]
				limit, bounded := c.SwapLimit.Bytes()
				if bounded && !yield(counter{a, (limit - c.Usage - c.SwapUsage).Pages(k.PageSize)}) {
					return
				}
			}
		}
		for a := range t.ancestors(i) {
			c := t.cgroups[a]
			limit, bounded := c.Limit.Bytes()
			if bounded && !yield(counter{a, (limit - c.Usage).Pages(k.PageSize)}) {
				return
			}
		}
	}
}
