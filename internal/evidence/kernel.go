// Package evidence reads what happened from the machine: the kernel's log and
// trace events, memory cgroups and /proc. It needs root for the kernel's log.
// What the runtime and the API server say comes from the labs.
package evidence

import (
	"fmt"
	"os"
	"runtime"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
)

// Kernel reads the facts of this machine that enter the choice of a victim.
func (h Hierarchy) Kernel() (oom.Kernel, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return oom.Kernel{}, fmt.Errorf("read the kernel's release: %w", err)
	}
	version, err := oom.ParseVersion(unix.ByteSliceToString(uts.Release[:]))
	if err != nil {
		return oom.Kernel{}, err
	}
	k := oom.Kernel{
		Version: version, PageSize: mem.Bytes(os.Getpagesize()),
		CPUs: runtime.NumCPU(), CgroupVersion: h.Version,
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return k, fmt.Errorf("open /proc: %w", err)
	}
	info, err := fs.Meminfo()
	if err != nil {
		return k, fmt.Errorf("read /proc/meminfo: %w", err)
	}
	if info.MemTotalBytes == nil || info.SwapTotalBytes == nil {
		return k, fmt.Errorf("read /proc/meminfo: no MemTotal or SwapTotal in it")
	}
	k.RAM = mem.Bytes(*info.MemTotalBytes).Pages(k.PageSize)
	k.Swap = mem.Bytes(*info.SwapTotalBytes).Pages(k.PageSize)
	if k.PanicOnOOM, err = readInt("/proc/sys/vm/panic_on_oom"); err != nil {
		return k, err
	}
	allocating, err := readInt("/proc/sys/vm/oom_kill_allocating_task")
	k.KillAllocatingTask = allocating != 0
	return k, err
}

// MemAvailable returns how much memory this machine could still give.
func MemAvailable() (mem.Bytes, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, fmt.Errorf("open /proc: %w", err)
	}
	info, err := fs.Meminfo()
	if err != nil {
		return 0, fmt.Errorf("read /proc/meminfo: %w", err)
	}
	if info.MemAvailableBytes == nil {
		return 0, fmt.Errorf("read /proc/meminfo: no MemAvailable in it")
	}
	return mem.Bytes(*info.MemAvailableBytes), nil
}
