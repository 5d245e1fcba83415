package evidence

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
)

// Snapshot reads every process and every memory cgroup from root downwards, and
// root's own ancestors' limits: what the kernel would judge if root ran out now.
// From the root of the hierarchy it is what the whole machine has, and has left.
// Processes and cgroups that vanish meanwhile are left out.
func (h Hierarchy) Snapshot(kernel oom.Kernel, root string) (oom.Snapshot, error) {
	s := oom.Snapshot{Time: time.Now(), Kernel: kernel}
	paths, err := h.Walk(root)
	if err != nil {
		return s, err
	}
	if isRoot(root) {
		available, err := MemAvailable()
		if err != nil {
			return s, err
		}
		pages := available.Pages(kernel.PageSize)
		s.Available = &pages
	}
	for _, path := range paths {
		cgroup, err := h.Cgroup(path)
		if gone(err) {
			continue
		} else if err != nil {
			return s, err
		}
		pids, err := h.Procs(path)
		if gone(err) {
			continue
		} else if err != nil {
			return s, err
		}
		s.Cgroups = append(s.Cgroups, cgroup)
		for _, pid := range pids {
			task, err := ReadTask(pid, kernel.PageSize)
			if gone(err) {
				continue
			} else if err != nil {
				return s, err
			}
			task.Cgroup = path
			s.Tasks = append(s.Tasks, task)
		}
	}
	return s, nil
}

// gone reports that a process or cgroup ended while it was read.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENODEV)
}

// Cgroup reads the limits and the usage of one memory cgroup.
func (h Hierarchy) Cgroup(path string) (oom.Cgroup, error) {
	info, err := os.Stat(h.Dir(path))
	if err != nil {
		return oom.Cgroup{}, fmt.Errorf("read cgroup %s: %w", path, err)
	}
	c := oom.Cgroup{Path: path, ID: info.Sys().(*syscall.Stat_t).Ino}
	if c.Limit, err = h.Limit(path); err != nil {
		return c, err
	}
	if c.SwapLimit, err = h.SwapLimit(path); err != nil {
		return c, err
	}
	if c.Usage, err = h.Usage(path); err != nil {
		return c, err
	}
	if c.OOMGroup, err = h.OOMGroup(path); err != nil {
		return c, err
	}
	if c.Swappiness, err = h.swappiness(path); err != nil {
		return c, err
	}
	c.Reclaimable, err = h.pageCache(path)
	return c, err
}

func (h Hierarchy) swappiness(path string) (int, error) {
	file := "/proc/sys/vm/swappiness"
	if h.Version == 1 {
		file = filepath.Join(h.Dir(path), "memory.swappiness")
	}
	return readInt(file)
}

// pageCache returns what reclaim can drop without swap: inactive and active
// file pages of the whole subtree (memory.stat; total_… in cgroup v1).
func (h Hierarchy) pageCache(path string) (mem.Bytes, error) {
	f, err := os.Open(filepath.Join(h.Dir(path), "memory.stat"))
	if isRoot(path) && errors.Is(err, fs.ErrNotExist) {
		return 0, nil // older kernels keep none for the root
	} else if err != nil {
		return 0, fmt.Errorf("read memory.stat of cgroup %s: %w", path, err)
	}
	defer f.Close()
	prefix := ""
	if h.Version == 1 {
		prefix = "total_"
	}
	var sum mem.Bytes
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if key != prefix+"inactive_file" && key != prefix+"active_file" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory.stat of cgroup %s: %w", path, err)
		}
		sum += mem.Bytes(n)
	}
	return sum, lines.Err()
}

// ReadTask reads what enters the badness of one process. Its cgroup is left to
// the caller, who usually found the process there. The error wraps
// fs.ErrNotExist or ESRCH once the process is gone.
func ReadTask(pid int, pageSize mem.Bytes) (oom.Task, error) {
	t := oom.Task{PID: pid}
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return t, fmt.Errorf("read process %d: %w", pid, err)
	}
	status, err := proc.NewStatus()
	if err != nil {
		return t, fmt.Errorf("read process %d: %w", pid, err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return t, fmt.Errorf("read process %d: %w", pid, err)
	}
	pages := func(b uint64) mem.Pages { return mem.Bytes(b).Pages(pageSize) }
	t.Name = status.Name
	t.Anon, t.File, t.Shmem = pages(status.RssAnon), pages(status.RssFile), pages(status.RssShmem)
	t.Swap = pages(status.VmSwap)
	t.PageTables = mem.Bytes(status.VmPTE + status.VmPMD)
	t.Threads = stat.NumThreads
	t.Order = int(stat.Starttime) // clock ticks since boot
	t.NoMM = status.VmSize == 0
	t.Kthread = stat.Flags&0x00200000 != 0 // PF_KTHREAD
	t.GlobalInit = pid == 1
	if t.OOMScoreAdj, err = readInt(fmt.Sprintf("/proc/%d/oom_score_adj", pid)); err != nil {
		return t, err
	}
	score, err := readInt(fmt.Sprintf("/proc/%d/oom_score", pid))
	if err != nil {
		return t, err
	}
	t.ObservedOOMScore = &score
	return t, nil
}

func readInt(file string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// HasMemory reports whether a process may still hold memory. The last of its
// threads gives it back, after the process has already lost its address space in
// /proc (exit_mm, kernel/exit.c): only when the others are gone and the first
// one is a zombie, everything has been given back.
func HasMemory(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false
	}
	if len(threads) > 1 {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name, in parentheses, may hold anything; the state follows it.
	after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	return !strings.HasPrefix(after, " Z") && !strings.HasPrefix(after, " X")
}
