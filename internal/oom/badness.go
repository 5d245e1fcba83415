package oom

import (
	"math"

	"github.com/oomlab/oomlab/internal/mem"
)

// The range of oom_score_adj. At the lower end a process is never killed.
const (
	OOMScoreAdjMin = -1000
	OOMScoreAdjMax = 1000
)

// signedBadness reports whether badness may be negative. Older kernels raise
// it to 1, so that all the well-protected processes tie there. Signed since
// Linux 5.9 (commit 9066e5cfb73c) and, by its backport, 5.4.144.
func (v Version) signedBadness() bool {
	return v.IsZero() || v.AtLeast(5, 9) || v.Major == 5 && v.Minor == 4 && v.Patch >= 144
}

// unkillable gives the reason why oom_badness() returns LONG_MIN for t, or "".
func (t *Task) unkillable() string {
	switch {
	case t.GlobalInit:
		return "init of the machine"
	case t.Kthread:
		return "kernel thread"
	case t.NoMM:
		return "has no memory of its own"
	case t.OOMScoreAdj == OOMScoreAdjMin:
		return "oom_score_adj -1000"
	case t.OOMSkip:
		return "already reaped"
	case t.Vfork:
		return "in vfork"
	}
	return ""
}

// candidate computes the badness of t in a domain of total pages, as
// oom_badness() does.
func (s *Snapshot) candidate(t *Task, total mem.Pages) Candidate {
	k := &s.Kernel
	c := Candidate{
		PID: t.PID, Name: t.Name, Cgroup: t.Cgroup,
		Anon: t.Anon, File: t.File, Shmem: t.Shmem, UnsplitRSS: t.UnsplitRSS, Swap: t.Swap,
		PageTables:  t.PageTables.Pages(k.PageSize),
		OOMScoreAdj: t.OOMScoreAdj,
		// The kernel divides first: a domain of less than 1000 pages has no adj.
		AdjPages: mem.Pages(t.OOMScoreAdj) * (total / 1000),
		Origin:   t.Origin,
	}
	if t.Origin {
		c.Points, c.Low, c.High = math.MaxInt64, math.MaxInt64, math.MaxInt64
		return c
	}
	var under, over mem.Pages
	if !s.FromReport {
		under, over = k.counterError(t)
	}
	points := t.RSS() + t.Swap + c.PageTables + c.AdjPages
	c.Points, c.Low, c.High = k.floor(points), k.floor(points-under), k.floor(points+over)
	return c
}

// floor is the end of oom_badness() in kernels where it is not signed.
func (k *Kernel) floor(points mem.Pages) mem.Pages {
	if !k.Version.signedBadness() {
		return max(points, 1)
	}
	return points
}

// rssEventsCached is how many page faults a thread of Linux 6.1 or older may
// count for itself before it adds them to the counters of its process:
// TASK_RSS_EVENTS_THRESH (64) is compared after a post-increment, and the fault
// that finds it exceeded is itself counted after the flush.
const rssEventsCached = 66

// counterError bounds how far the kernel's reading of t's memory may lie under
// and over the exact sum. Linux counts rss in separate counters per kind:
//
//   - 7.0 and newer read them exactly (commit 5898aa8f9a0b).
//   - 6.2 to 6.19 read percpu_counters without the part, smaller than the
//     batch max(32, 2*CPUs), that each CPU still keeps to itself; a negative
//     result reads as zero (percpu_counter_read_positive).
//   - 6.1 and older leave out what each thread keeps to itself.
func (k *Kernel) counterError(t *Task) (under, over mem.Pages) {
	if k.Version.AtLeast(7, 0) {
		return 0, 0
	}
	if !k.Version.AtLeast(6, 2) {
		cached := rssEventsCached * mem.Pages(max(1, t.Threads))
		return min(cached, t.RSS()+t.Swap), cached
	}
	perCounter := mem.Pages(max(32, 2*k.CPUs)-1) * mem.Pages(k.CPUs)
	under = min(t.Anon, perCounter) + min(t.File, perCounter) + min(t.Shmem, perCounter) + min(t.UnsplitRSS, 3*perCounter)
	over = 3 * perCounter
	if k.Swap > 0 {
		under += min(t.Swap, perCounter)
		over += perCounter
	}
	return under, over
}

// CounterError returns how many pages the kernel's reading of t's memory may
// be off by, in either direction. 0 from Linux 7.0 on.
func (k Kernel) CounterError(t Task) mem.Pages {
	_, over := k.counterError(&t)
	return over
}

// OOMScore returns what /proc/PID/oom_score says of t: proc_oom_score() in
// fs/proc/base.c. It always relates t to the RAM and swap of the whole machine,
// so it can't rank the processes of a memory cgroup. From Linux 5.9 on it is
// 666 for a small process of oom_score_adj 0 and at least 1332 at 1000; before
// it ran from 0 to 1000 and a little more.
func (k Kernel) OOMScore(t Task) int {
	if t.unkillable() != "" {
		return 0
	}
	total := k.RAM + k.Swap
	t.Origin = false // only the choice of a victim looks at it
	badness := (&Snapshot{Kernel: k}).candidate(&t, total).Points
	if !k.Version.signedBadness() {
		return int(badness * 1000 / total)
	}
	return int((1000 + badness*1000/total) * 2 / 3)
}
