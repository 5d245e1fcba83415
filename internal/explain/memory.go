package explain

import (
	"cmp"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oomreport"
)

// Part is one kind of memory in what ran out.
type Part struct {
	Name  string    `json:"name"`
	Bytes mem.Bytes `json:"bytes"`
	// Of names the part that this one is contained in; empty: it is a part of
	// the whole.
	Of string `json:"of,omitempty"`
	// Unkillable says that a kill does not free it by itself: no process has it
	// in its rss.
	Unkillable bool `json:"unkillable,omitempty"`
}

// The parts that sums are made of.
const (
	partAnon   = "anonymous"
	partFile   = "page cache"
	partShmem  = "shared memory and tmpfs"
	partKernel = "kernel"
	partOther  = "in no counter of the report"
	partBelow  = "in cgroups below, or in no counter"
)

// memory says what the memory of the domain was.
func (c *inquiry) memory() []Part {
	var parts []Part
	switch {
	case c.report.Mixed:
	case c.constraint == oomreport.ConstraintMemcg && len(c.report.Stats) > 0:
		parts = c.memcgParts()
	case c.constraint != oomreport.ConstraintMemcg && len(c.report.MemInfo) > 0:
		parts = c.machineParts()
	}
	parts = slices.DeleteFunc(parts, func(p Part) bool { return p.Bytes <= 0 })
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return parts
}

// memcgParts reads the domain's stats: those of cgroup v2, which v1 printed as
// well from 5.2 on for a while, the total_* ones of v1, or the ones before 5.1,
// which are the domain's without the cgroups below it.
func (c *inquiry) memcgParts() []Part {
	s := c.report.Stats
	get := func(names ...string) mem.Bytes {
		var sum mem.Bytes
		for _, name := range names {
			n, _ := s.Get(name)
			sum += mem.Bytes(n)
		}
		return sum
	}
	var anon, file, shmem mem.Bytes
	rest := partOther
	switch _, isV2 := s.Get("anon"); {
	case isV2:
		anon, file, shmem = get("anon"), get("file"), get("shmem")
	case get("total_rss", "total_cache") > 0:
		anon, file, shmem = get("total_rss"), get("total_cache"), get("total_shmem")
	default:
		anon, file, shmem = get("rss"), get("cache"), get("shmem")
		rest = partBelow
	}
	kernel, whole := s.Get("kernel")
	kernelParts := []Part{
		{Name: "page tables", Bytes: get("pagetables", "sec_pagetables")},
		{Name: "slab", Bytes: get("slab_reclaimable", "slab_unreclaimable")},
		{Name: "kernel stacks", Bytes: get("kernel_stack")},
		{Name: "per-CPU", Bytes: get("percpu")},
		{Name: "vmalloc", Bytes: get("vmalloc")},
	}
	sum := mem.Bytes(0)
	for i := range kernelParts {
		kernelParts[i].Of, kernelParts[i].Unkillable = partKernel, true
		sum += kernelParts[i].Bytes
	}
	total := mem.Bytes(kernel)
	if !whole {
		total = sum
		if k := c.report.Kmem; k != nil {
			total = max(total, k.Usage)
		}
	}
	parts := []Part{
		{Name: partAnon, Bytes: anon}, {Name: partFile, Bytes: file - shmem, Unkillable: true},
		{Name: partShmem, Bytes: shmem},
		{Name: partKernel, Bytes: total, Unkillable: true},
		{Name: "sockets", Bytes: get("sock"), Unkillable: true},
		{Name: "zswap", Bytes: get("zswap")},
		{Name: "huge pages (hugetlb)", Bytes: get("hugetlb"), Unkillable: true},
	}
	if u := c.unmappedShmem(shmem); u > 0 {
		parts = append(parts, Part{Name: "mapped by nobody in the table", Bytes: u, Of: partShmem, Unkillable: true})
	}
	return append(c.withRest(parts, rest), kernelParts...)
}

// withRest adds what is charged and in no counter.
func (c *inquiry) withRest(parts []Part, name string) []Part {
	if c.report.Memory == nil {
		return parts
	}
	rest := c.report.Memory.Usage
	for _, p := range parts {
		if p.Of == "" {
			rest -= p.Bytes
		}
	}
	return append(parts, Part{Name: name, Bytes: rest, Unkillable: name == partOther})
}

// unmappedShmem is how much of the shared memory is in no listed process's rss,
// at least: a page that several map counts in each. Files in tmpfs are so.
func (c *inquiry) unmappedShmem(shmem mem.Bytes) mem.Bytes {
	if len(c.tasks) == 0 || !c.report.HasColumn("rss_shmem") {
		return 0
	}
	for _, t := range c.tasks {
		shmem -= t.Shmem.Bytes(c.page)
	}
	return shmem
}

// machineParts reads the machine's Mem-Info. Pages of tmpfs are on the lists of
// anonymous pages.
func (c *inquiry) machineParts() []Part {
	get := func(names ...string) mem.Bytes {
		var sum mem.Bytes
		for _, name := range names {
			n, _ := c.report.MemInfo.Get(name)
			if n < 0 || n > int64(mostPages) {
				n = 0
			}
			sum += mem.Pages(n).Bytes(c.page)
		}
		return sum
	}
	shmem := get("shmem")
	parts := []Part{
		{Name: partAnon, Bytes: get("active_anon", "inactive_anon", "isolated_anon") - shmem},
		{Name: partFile, Bytes: get("active_file", "inactive_file", "isolated_file"), Unkillable: true},
		{Name: partShmem, Bytes: shmem},
		{Name: "unevictable", Bytes: get("unevictable")},
		{Name: "slab", Bytes: get("slab_reclaimable", "slab_unreclaimable"), Unkillable: true},
		{Name: "page tables", Bytes: get("pagetables", "sec_pagetables"), Unkillable: true},
		{Name: "free", Bytes: get("free", "free_pcp"), Unkillable: true},
	}
	if m := c.report.Machine; m != nil && m.RAM != nil && m.Reserved != nil && len(c.report.MemInfo) > 4 {
		rest := (*m.RAM - *m.Reserved).Bytes(c.page)
		for _, p := range parts {
			rest -= max(p.Bytes, 0)
		}
		parts = append(parts, Part{Name: "in no counter of the report (huge pages, drivers, stacks)", Bytes: rest, Unkillable: true})
	}
	return parts
}

// part returns the bytes of a part, 0 where it is not there.
func part(parts []Part, name string) mem.Bytes {
	for _, p := range parts {
		if p.Name == name {
			return p.Bytes
		}
	}
	return 0
}
