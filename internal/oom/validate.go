package oom

import (
	"errors"
	"fmt"
	"path"

	"github.com/oomlab/oomlab/internal/mem"
)

// maxPages bounds every count, so that no sum of the model overflows: 2^51
// pages of 4 KiB are the 8 EiB that mem.Bytes can hold.
const maxPages = mem.Pages(1) << 51 // mutate: any bound far from overflow

// Validate reports everything in s that can't be: an error per fact, joined.
func (s Snapshot) Validate() error {
	var errs []error
	complain := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	k := s.Kernel
	complain(k.PageSize > 0, "kernel: pageSizeBytes is %d: want the page size, often 4096", int64(k.PageSize))
	complain(k.CPUs > 0 || s.FromReport, "kernel: cpus is %d: want the CPUs online", k.CPUs)
	complain(k.CgroupVersion == 1 || k.CgroupVersion == 2, "kernel: cgroupVersion is %d: want 1 or 2", k.CgroupVersion)
	complain(k.PanicOnOOM >= 0 && k.PanicOnOOM <= 2, "kernel: panicOnOOM is %d: want 0, 1 or 2", k.PanicOnOOM)
	complain(!k.Version.IsZero() || s.FromReport, "kernel: version is unknown: the error of its counters depends on it")
	complain(plausible(k.RAM, k.Swap) && plausible(k.NodePages...), "kernel: a number of pages is negative or too large")

	paths := make(map[string]bool, len(s.Cgroups))
	for _, c := range s.Cgroups {
		complain(!paths[c.Path], "cgroup %s: listed twice", c.Path)
		complain(isCgroupPath(c.Path), "cgroup %q: want a clean path from the root of the hierarchy", c.Path)
		complain(c.Usage >= 0 && c.SwapUsage >= 0 && c.Reclaimable >= 0, "cgroup %s: a usage is negative", c.Path)
		paths[c.Path] = true
	}
	pids := make(map[int]bool, len(s.Tasks))
	for i := range s.Tasks {
		t := &s.Tasks[i]
		if t.PID <= 0 || pids[t.PID] {
			errs = append(errs, fmt.Errorf("task %d: not a pid, or listed twice", t.PID))
		}
		pids[t.PID] = true
		errs = append(errs, t.validate(s.FromReport)...)
	}
	return errors.Join(errs...)
}

func (t *Task) validate(fromReport bool) (errs []error) {
	if t.OOMScoreAdj < OOMScoreAdjMin || t.OOMScoreAdj > OOMScoreAdjMax {
		errs = append(errs, fmt.Errorf("task %d: oomScoreAdj is %d: want -1000 to 1000", t.PID, t.OOMScoreAdj))
	}
	if !plausible(t.Anon, t.File, t.Shmem, t.UnsplitRSS, t.Swap) || t.PageTables < 0 {
		errs = append(errs, fmt.Errorf("task %d: an amount of memory is negative or too large", t.PID))
	}
	if !fromReport && !isCgroupPath(t.Cgroup) {
		errs = append(errs, fmt.Errorf("task %d: cgroup %q: want a clean path from the root of the hierarchy", t.PID, t.Cgroup))
	}
	return errs
}

// isCgroupPath reports whether p is absolute and without "..", which a path
// seen from within a cgroup namespace may have.
func isCgroupPath(p string) bool { return p != "" && p[0] == '/' && path.Clean(p) == p }

func plausible(pages ...mem.Pages) bool {
	for _, p := range pages {
		if p < 0 || p > maxPages {
			return false
		}
	}
	return true
}

// caveats says where the rules of the snapshot's kernel are not certain.
func (s Snapshot) caveats() []string {
	v := s.Kernel.Version
	switch {
	case v.IsZero():
		return []string{"the kernel's version is unknown: computed by the rules of 5.9 and newer"}
	case !v.AtLeast(5, 4):
		return []string{fmt.Sprintf("Linux %s is older than 5.4, the oldest version whose rules are modelled: computed as 5.4", v)}
	}
	return nil
}
