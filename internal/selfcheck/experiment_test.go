package selfcheck

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
)

var limits = cmp.AllowUnexported(mem.Limit{})

func TestDraw(t *testing.T) {
	const n = 500
	for flags, lowest := range map[bool]int{false: 0, true: -1000} {
		nested, groups := 0, 0
		for number := range n {
			e := Draw(7, number, flags, lowest)
			if diff := cmp.Diff(e, Draw(7, number, flags, lowest), limits); diff != "" {
				t.Fatalf("experiment %d differs when drawn again:\n%s", number, diff)
			}
			if err := e.Validate(); err != nil {
				t.Fatalf("experiment %d: %v", number, err)
			}
			for _, c := range e.Cgroups {
				limit, bounded := c.Limit.Bytes()
				if bounded && e.charged(c.Path) > limit {
					t.Errorf("experiment %d does not fit in %s", number, c.Path)
				}
				if bounded && c.Path != "." {
					nested++
				}
				if c.Group {
					groups++
				}
			}
			for _, p := range e.Processes {
				if p.Size < smallestSize || p.Adj < lowest || e.hasChildren(p.Cgroup) {
					t.Errorf("experiment %d: process %+v", number, p)
				}
			}
		}
		if nested < n/10 || (groups > n/10) != flags {
			t.Errorf("flags %v: %d nested limits, %d group flags in %d experiments", flags, nested, groups, n)
		}
	}
	if a, b := Draw(7, 1, false, 0), Draw(8, 1, false, 0); cmp.Equal(a.Processes, b.Processes) {
		t.Error("the seed changes nothing")
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Experiment)
		want   string
	}{
		{func(e *Experiment) { e.Cgroups[0].Limit = mem.Max }, "arena's limit is max"},
		{func(e *Experiment) { e.Cgroups[0].Limit = mem.LimitOf(mem.GiB) }, "arena's limit is 1Gi"},
		{func(e *Experiment) { e.Cgroups[0].Path = "a" }, "must be the arena's own"},
		{func(e *Experiment) { e.Cgroups = append(e.Cgroups, Cgroup{Path: "../b"}) }, "want clean paths"},
		{func(e *Experiment) { e.Cgroups = append(e.Cgroups, Cgroup{Path: "x/y"}) }, "parents first"},
		{func(e *Experiment) { e.Processes[0].Cgroup = "/" }, "want a cgroup that is there"},
		{func(e *Experiment) { e.Processes[0].Size = 0 }, "a size"},
		{func(e *Experiment) { e.Processes[0].Adj = 1001 }, "-1000 to 1000"},
		{func(e *Experiment) { e.Grower = len(e.Processes) }, "grower"},
	} {
		e := Draw(1, 1, false, 0)
		tt.change(&e)
		if err := e.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestIsWithin(t *testing.T) {
	for _, tt := range []struct {
		p, ancestor string
		want        bool
	}{{".", ".", true}, {"a/b", ".", true}, {"a/b", "a", true}, {"a", "a/b", false}, {"ab", "a", false}, {".", "a", false}} {
		if got := isWithin(tt.p, tt.ancestor); got != tt.want {
			t.Errorf("isWithin(%q, %q) = %v", tt.p, tt.ancestor, got)
		}
	}
}
