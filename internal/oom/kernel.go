// Package oom is a model of the Linux kernel's OOM killer. From a Snapshot of
// tasks and memory cgroups it computes, in the kernel's own integer
// arithmetic, whom the kernel kills when a Domain runs out of memory, and how
// sure that is. It reads nothing: a Snapshot comes from /proc and cgroupfs, or
// from the task table that the kernel prints in an OOM report.
//
// The rules are those of mm/oom_kill.c and mm/memcontrol.c from Linux 5.4 on;
// each rule names the kernel function that it follows. docs/model.md tells the
// whole story.
package oom

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// Kernel holds the facts of the machine that enter the choice of a victim.
type Kernel struct {
	Version  Version   `json:"version"`
	PageSize mem.Bytes `json:"pageSizeBytes"`
	// RAM is totalram_pages(): MemTotal of the host's /proc/meminfo.
	RAM mem.Pages `json:"ramPages"`
	// Swap is total_swap_pages: SwapTotal of the host's /proc/meminfo.
	Swap mem.Pages `json:"swapPages"`
	// CPUs is the number of CPUs online: the rss counters are kept per CPU.
	CPUs int `json:"cpus"`
	// CgroupVersion is the version (1 or 2) of the hierarchy that holds the
	// memory controller.
	CgroupVersion int `json:"cgroupVersion"`
	// NodePages are the present pages of each memory node, by node number.
	// Only cpuset and mempolicy domains need them.
	NodePages []mem.Pages `json:"nodePages,omitempty"`
	// PanicOnOOM is the sysctl vm.panic_on_oom: 0, 1 or 2.
	PanicOnOOM int `json:"panicOnOOM,omitempty"`
	// KillAllocatingTask is the sysctl vm.oom_kill_allocating_task.
	KillAllocatingTask bool `json:"killAllocatingTask,omitempty"`
}

// Version is a kernel version. The zero Version is unknown.
type Version struct {
	Major, Minor, Patch int
}

// ParseVersion reads a kernel release as uname -r prints it: "6.18.44-fc-v782",
// "5.15.0-1023-azure", "7.2". Only the leading numbers count.
func ParseVersion(release string) (Version, error) {
	numbers := strings.TrimSuffix(release, strings.TrimLeft(release, "0123456789."))
	parts := strings.Split(strings.TrimSuffix(numbers, "."), ".")
	if len(parts) < 2 {
		return Version{}, fmt.Errorf("%q is not a kernel release: want one such as 6.18.44", release)
	}
	var n [3]int // mutate: a fourth number is not looked at
	for i := range min(len(parts), len(n)) {
		v, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("%q is not a kernel release: want one such as 6.18.44", release)
		}
		n[i] = int(v)
	}
	return Version{Major: n[0], Minor: n[1], Patch: n[2]}, nil
}

// AtLeast reports whether v is major.minor or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// IsZero reports that the version is unknown.
func (v Version) IsZero() bool { return v == Version{} }

func (v Version) String() string {
	if v.IsZero() {
		return "unknown"
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// MarshalText writes the version as 6.18.44, or nothing when it is unknown.
func (v Version) MarshalText() ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	return []byte(v.String()), nil
}

// UnmarshalText reads what ParseVersion reads, and the empty text as unknown.
func (v *Version) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*v = Version{}
		return nil
	}
	*v, err = ParseVersion(string(text))
	return err
}
