package oom

import (
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// tight is a container in a pod in a node, each with room for some pages.
func tight(container, pod, node mem.Pages) Snapshot {
	cgroup := func(path string, room mem.Pages) Cgroup {
		return Cgroup{Path: path, Limit: mem.LimitOf((100 + room).Bytes(page)), Usage: 100 * page, SwapLimit: mem.LimitOf(0)}
	}
	return Snapshot{
		Kernel:  testKernel(),
		Cgroups: []Cgroup{cgroup("/node", node), cgroup("/node/pod", pod), cgroup("/node/pod/c", container), {Path: "/", Limit: mem.Max}},
		Tasks:   []Task{in("/node/pod/c", at(1, 10, 0)), in("/node/pod/c", at(2, 5, 900)), in("/node", at(3, 90, 0))},
	}
}

func TestFirstOverLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		s      Snapshot
		path   string
		charge mem.Pages
		want   string // "": all limits hold
	}{
		"fits exactly":           {tight(5, 5, 5), "/node/pod/c", 5, ""},
		"the nearest goes first": {tight(5, 5, 5), "/node/pod/c", 6, "/node/pod/c"},
		"only the pod":           {tight(9, 5, 9), "/node/pod/c", 6, "/node/pod"},
		"only the node":          {tight(9, 9, 5), "/node/pod/c", 6, "/node"},
		"nearest, not tightest":  {tight(5, 1, 0), "/node/pod/c", 6, "/node/pod/c"},
		"a sibling is not asked": {tight(0, 9, 9), "/node/pod/other", 6, ""},
		"an unlisted descendant": {tight(0, 9, 9), "/node/pod/c/deep", 1, "/node/pod/c"},
		"already over":           {tight(-3, 9, 9), "/node/pod/c", 1, "/node/pod/c"},
		"outside":                {tight(0, 0, 0), "/elsewhere", 100, ""},
		"not a path of a cgroup": {tight(0, 0, 0), "", 100, ""},
	} {
		d, over := tc.s.FirstOverLimit(tc.path, tc.charge)
		if d.Path != tc.want || over != (tc.want != "") || over && d.Constraint != ConstraintMemcg {
			t.Errorf("%s: %+v, %v; want %q", name, d, over, tc.want)
		}
	}
}

// cgroup v1 tries all memory+swap counters before the first memory counter.
func TestFirstOverLimitOfMemorySwap(t *testing.T) {
	s := tight(2, 9, 9)
	s.Kernel.CgroupVersion = 1
	for i := range s.Cgroups {
		s.Cgroups[i].SwapLimit = mem.Max
	}
	if d, _ := s.FirstOverLimit("/node/pod/c", 3); d.Path != "/node/pod/c" {
		t.Errorf("memsw unlimited: %q", d.Path)
	}
	node := &s.Cgroups[0]
	node.SwapLimit, node.SwapUsage = mem.LimitOf(110*page), 8*page
	if d, over := s.FirstOverLimit("/node/pod/c", 3); d.Path != "/node" || !over {
		t.Errorf("memsw of the node has room for 2 pages: %q, want /node although the container is over as well", d.Path)
	}
	if d, over := s.FirstOverLimit("/node/pod/c", 2); over {
		t.Errorf("2 pages fit, but %q is over", d.Path)
	}
	s.Kernel.CgroupVersion = 2
	if d, _ := s.FirstOverLimit("/node/pod/c", 3); d.Path != "/node/pod/c" {
		t.Errorf("v2 has no such counter: %q", d.Path)
	}
}
