package explain

import (
	"fmt"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
)

// TotalPages is the size of what ran out, as constrained_alloc() computes it,
// within the bounds that a report leaves.
type TotalPages struct {
	// Known says that Pages is a figure of the report, if perhaps not exact.
	Known bool      `json:"known"`
	Pages mem.Pages `json:"pages,omitempty"`
	// Low and High bound it. They are equal where it is exact.
	Low   mem.Pages  `json:"low"`
	High  mem.Pages  `json:"high"`
	Terms []oom.Term `json:"terms,omitempty"`
	// Open says what the report lacks for an exact figure.
	Open string `json:"open,omitempty"`
}

// Exact says that the report leaves no doubt.
func (t TotalPages) Exact() bool { return t.Known && t.Low == t.High }

// mostPages is the upper bound where there is no other: 8 PiB of 4 KiB pages.
const mostPages = mem.Pages(1) << 41

func (c *inquiry) totalPages() TotalPages {
	var t TotalPages
	switch c.constraint {
	case oomreport.ConstraintMemcg:
		t = c.totalOfMemcg()
	case oomreport.ConstraintNone:
		t = c.totalOfMachine()
	case oomreport.ConstraintCpuset, oomreport.ConstraintMemoryPolicy:
		t = TotalPages{Low: 1, High: mostPages, Open: "the present pages of the memory nodes"}
		if whole := c.totalOfMachine(); whole.Known {
			t.High = whole.High
		}
	default:
		t = TotalPages{Low: 1, High: mostPages, Open: "what ran out, and so its size"}
	}
	if t.Low < 1 || t.High > mostPages || t.Low > t.High || t.Known && (t.Pages < t.Low || t.Pages > t.High) {
		return TotalPages{Low: 1, High: mostPages, Open: "a possible size: the one in the log can't be"}
	}
	return t
}

// totalOfMachine is totalram_pages + total_swap_pages.
func (c *inquiry) totalOfMachine() TotalPages {
	m := c.report.Machine
	if m == nil || m.RAM == nil || m.Reserved == nil {
		return TotalPages{Low: 1, High: mostPages, Open: "the machine's RAM and swap"}
	}
	ram := *m.RAM - *m.Reserved
	t := TotalPages{Known: true, Pages: ram, Low: ram, High: ram, Terms: []oom.Term{{Name: "RAM less reserved", Pages: ram}}}
	if m.SwapTotal == nil {
		t.High, t.Open = mostPages, "the machine's swap"
		return t
	}
	if swap := m.SwapTotal.Pages(c.page); swap > 0 {
		t.Terms = append(t.Terms, oom.Term{Name: "swap", Pages: swap})
		t.Pages += swap
		t.Low, t.High = t.Pages, t.Pages
	}
	return t
}

// totalOfMemcg is mem_cgroup_get_max(): the limit, and what may be swapped. How
// much swap the machine has is in no report about a memory cgroup.
func (c *inquiry) totalOfMemcg() TotalPages {
	r := c.report
	if r.Memory == nil {
		return TotalPages{Low: 1, High: mostPages, Open: "the limit of the memory cgroup"}
	}
	limit, bounded := r.Memory.Limit.Bytes()
	most, bothBounded := mem.Bytes(0), false // of memory and swap
	switch {
	case r.MemSw != nil:
		most, bothBounded = r.MemSw.Limit.Bytes()
	case r.Swap != nil:
		most, bothBounded = r.Swap.Limit.Bytes()
		most += limit
	}
	bothBounded = bothBounded && most >= 0 // two huge limits overflow
	switch {
	case !bounded && !bothBounded:
		return TotalPages{Low: 1, High: mostPages, Open: "a limit: the memory cgroup has none"}
	case !bounded:
		limit = most // only memory and swap together are limited
	}
	own := max(limit.Pages(c.page), 1)
	t := TotalPages{Known: true, Pages: own, Low: own, High: own, Terms: []oom.Term{{Name: "memory limit", Pages: own}}}
	if bothBounded && most <= limit {
		return t
	}
	t.High, t.Open = mostPages, "how much swap the machine has"
	if bothBounded {
		t.High = most.Pages(c.page)
	}
	switch {
	case !c.swapInUse():
		c.assume("the machine has no swap: the report shows none in use")
	case bothBounded:
		c.assume("the machine has at least as much swap as the memory cgroup may use")
		t.Pages = t.High
		t.Terms = append(t.Terms, oom.Term{Name: "swap", Pages: t.High - own})
	default:
		// Swap is in use, and its size could be anything.
		t.Open = "how much swap the machine has: some is in use"
	}
	return t
}

// swapInUse says that something in the report is swapped out.
func (c *inquiry) swapInUse() bool {
	r := c.report
	for i := range r.Tasks {
		if r.Tasks[i].SwapEnts > 0 {
			return true
		}
	}
	return r.Swap != nil && r.Swap.Usage > 0 || r.MemSw != nil && r.Memory != nil && r.MemSw.Usage > r.Memory.Usage
}

// narrowByScore uses the score that kernels before 5.0 print with the victim:
// points*1000/totalpages. With points = held + adj*(totalpages/1000) the score
// less adj is about held*1000/totalpages.
func (c *inquiry) narrowByScore() {
	v := c.report.Victim
	if v == nil || v.Score == nil || c.total.Exact() {
		return
	}
	row := c.report.Task(v.PID)
	if row == nil || row.UID == 0 && !c.version.AtLeast(4, 17) {
		return // up to 4.16 processes of root may have counted for 3% less
	}
	over := mem.Pages(*v.Score - row.OOMScoreAdj)
	held := row.RSS + row.SwapEnts + row.PgtablesBytes.Pages(c.page) + row.PgtablesPages
	if over <= 0 || over > 1<<20 || held <= 0 || held > mostPages {
		return
	}
	// One more on either side covers the two integer divisions.
	low, high := held*1000/(over+2), held*1000/max(over-1, 1)
	low, high = max(low, c.total.Low), min(high, c.total.High)
	if low > high {
		return
	}
	c.total.Low, c.total.High = low, high
	if !c.total.Known || c.total.Pages < low || c.total.Pages > high {
		c.total.Known, c.total.Pages = true, (low+high)/2
		c.total.Terms = []oom.Term{{Name: fmt.Sprintf("about, by the printed score %d", *v.Score), Pages: c.total.Pages}}
	}
}
