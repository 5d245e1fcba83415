package evidence

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/oomlab/oomlab/internal/mem"
)

// Hierarchy is where this machine's memory controller is mounted. Paths of
// cgroups are given below that mount, as the kernel logs them: "/kubepods/…".
type Hierarchy struct {
	// Version is 1 or 2. On a hybrid machine the memory controller decides.
	Version int
	// Mount is the directory of the hierarchy's root.
	Mount string
}

// ErrNoMemoryController is returned where no cgroup file system shows one.
var ErrNoMemoryController = errors.New("no cgroup hierarchy with a memory controller is mounted: mount cgroup2 with the memory controller enabled")

// FindHierarchy finds the memory controller in /proc/self/mountinfo.
func FindHierarchy() (Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find the memory controller: %w", err)
	}
	defer f.Close()
	var unified string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// proc_pid_mountinfo(5): id parent major:minor root mountpoint options … - type source superoptions
		before, after, _ := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 {
			continue
		}
		switch {
		case right[0] == "cgroup" && slices.Contains(strings.Split(right[2], ","), "memory"):
			return Hierarchy{Version: 1, Mount: left[4]}, nil
		case right[0] == "cgroup2":
			unified = left[4]
		}
	}
	if unified != "" {
		controllers, err := os.ReadFile(filepath.Join(unified, "cgroup.controllers"))
		if err != nil {
			return Hierarchy{}, fmt.Errorf("find the memory controller: %w", err)
		}
		if slices.Contains(strings.Fields(string(controllers)), "memory") {
			return Hierarchy{Version: 2, Mount: unified}, nil
		}
	}
	return Hierarchy{}, ErrNoMemoryController
}

// Dir returns the directory of a cgroup.
func (h Hierarchy) Dir(path string) string { return filepath.Join(h.Mount, path) }

// Of returns the memory cgroup of a process.
func (h Hierarchy) Of(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("read the cgroup of process %d: %w", pid, err)
	}
	path, ok := h.parseProcCgroup(string(data))
	if !ok {
		return "", fmt.Errorf("process %d has no memory cgroup in %q", pid, data)
	}
	return path, nil
}

// parseProcCgroup reads /proc/PID/cgroup: "id:controllers:path" lines.
func (h Hierarchy) parseProcCgroup(text string) (string, bool) {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		if h.Version == 2 && f[0] == "0" || h.Version == 1 && slices.Contains(strings.Split(f[1], ","), "memory") {
			return f[2], true
		}
	}
	return "", false
}

// leafLinks is the link count of a directory that has none below it: kernfs
// counts those (kernfs_refresh_inode), as most file systems do.
const leafLinks = 2

// Walk returns path and every cgroup below it in the order in which the kernel
// walks them (css_for_each_descendant_pre): parents first, siblings by age.
// kernfs numbers directories as it creates them, so the inode number is the age.
// Cgroups that vanish meanwhile are left out.
func (h Hierarchy) Walk(path string) ([]string, error) {
	var dir syscall.Stat_t
	if err := syscall.Stat(h.Dir(path), &dir); err != nil {
		return nil, fmt.Errorf("walk cgroup %s: %w", path, err)
	}
	if dir.Nlink == leafLinks {
		return []string{path}, nil // most are leaves, each with some sixty files to list
	}
	entries, err := os.ReadDir(h.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("walk cgroup %s: %w", path, err)
	}
	type child struct {
		name string
		age  uint64
	}
	var children []child
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("walk cgroup %s: %w", path, err)
		}
		children = append(children, child{e.Name(), info.Sys().(*syscall.Stat_t).Ino})
	}
	slices.SortFunc(children, func(a, b child) int { return cmp.Compare(a.age, b.age) })
	paths := []string{path}
	for _, c := range children {
		below, err := h.Walk(filepath.Join(path, c.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		paths = append(paths, below...)
	}
	return paths, nil
}

// Procs returns the processes directly in a cgroup, as the host numbers them.
func (h Hierarchy) Procs(path string) ([]int, error) {
	data, err := readFile(filepath.Join(h.Dir(path), "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", path, err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("list processes of cgroup %s: %w", path, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// isRoot reports whether a path is the root of the hierarchy. In cgroup v2 it
// has no files of its own about limits and events: it is the machine.
func isRoot(path string) bool { return path == "/" }

// Usage returns what is charged to a cgroup and everything below it; nothing
// for the root of a v2 hierarchy, which keeps no such account.
func (h Hierarchy) Usage(path string) (mem.Bytes, error) {
	l, err := h.limit(path, "memory.usage_in_bytes", "memory.current")
	b, _ := l.Bytes()
	return b, err
}

// Limit returns memory.max (v2) or memory.limit_in_bytes (v1). It is absent for
// the root of a v2 hierarchy.
func (h Hierarchy) Limit(path string) (mem.Limit, error) {
	return h.limit(path, "memory.limit_in_bytes", "memory.max")
}

// SwapLimit returns memory.swap.max (v2: swap alone) or
// memory.memsw.limit_in_bytes (v1: memory and swap together). It is absent
// where the kernel does not account swap.
func (h Hierarchy) SwapLimit(path string) (mem.Limit, error) {
	l, err := h.limit(path, "memory.memsw.limit_in_bytes", "memory.swap.max")
	if errors.Is(err, fs.ErrNotExist) {
		return mem.Limit{}, nil
	}
	return l, err
}

func (h Hierarchy) limit(path, v1, v2 string) (mem.Limit, error) {
	name := v2
	if h.Version == 1 {
		name = v1
	}
	data, err := readFile(filepath.Join(h.Dir(path), name))
	if isRoot(path) && errors.Is(err, fs.ErrNotExist) {
		return mem.Limit{}, nil
	} else if err != nil {
		return mem.Limit{}, fmt.Errorf("read %s of cgroup %s: %w", name, path, err)
	}
	l, err := mem.ParseLimit(string(data))
	if err != nil {
		return mem.Limit{}, fmt.Errorf("read %s of cgroup %s: %w", name, path, err)
	}
	return l, nil
}

// OOMGroup reports memory.oom.group; a v1 hierarchy and the root have none.
func (h Hierarchy) OOMGroup(path string) (bool, error) {
	data, err := readFile(filepath.Join(h.Dir(path), "memory.oom.group"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read memory.oom.group of cgroup %s: %w", path, err)
	}
	return strings.TrimSpace(string(data)) == "1", nil
}

// OOMKills returns the number of processes of this cgroup alone, not of those
// below it, that the OOM killer has killed: oom_kill of memory.oom_control
// (v1) or of memory.events.local (v2). It is a counter: use differences. The
// root of a v2 hierarchy counts none.
func (h Hierarchy) OOMKills(path string) (int, error) {
	name := "memory.events.local"
	if h.Version == 1 {
		name = "memory.oom_control"
	}
	data, err := readFile(filepath.Join(h.Dir(path), name))
	if isRoot(path) && errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("read %s of cgroup %s: %w", name, path, err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
			return strconv.Atoi(f[1])
		}
	}
	return 0, fmt.Errorf("read %s of cgroup %s: it has no oom_kill counter (Linux 4.13 and later have)", name, path)
}
