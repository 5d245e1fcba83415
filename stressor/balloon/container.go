package balloon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// ReadLimit reads the memory limit of the process's own cgroup, of version 1 or
// 2. It does not look further up: what limits the pod is not the container's.
func ReadLimit() (mem.Limit, error) {
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return mem.Limit{}, fmt.Errorf("read memory limit: %w", err)
	}
	for _, path := range limitFiles(string(cgroups)) {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return mem.Limit{}, fmt.Errorf("read memory limit: %w", err)
		}
		return mem.ParseLimit(string(data))
	}
	return mem.Limit{}, errors.New("read memory limit: no memory cgroup under /sys/fs/cgroup: give it with -limit")
}

// limitFiles lists where the limit may be, given /proc/self/cgroup. Inside a
// container the path in there is often relative to a root that is not mounted,
// and the container's own cgroup is the root of what is.
func limitFiles(cgroups string) []string {
	var files []string
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // id:controllers:path
		if len(f) != 3 {
			continue
		}
		for _, controller := range strings.Split(f[1], ",") {
			switch controller {
			case "memory":
				files = append([]string{
					"/sys/fs/cgroup/memory" + f[2] + "/memory.limit_in_bytes",
					"/sys/fs/cgroup/memory/memory.limit_in_bytes",
				}, files...)
			case "": // version 2
				files = append(files, "/sys/fs/cgroup"+f[2]+"/memory.max", "/sys/fs/cgroup/memory.max")
			}
		}
	}
	return files
}

// ReadMachine reads the memory of the machine (/proc/meminfo MemTotal).
func ReadMachine() (mem.Limit, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return mem.Limit{}, fmt.Errorf("read the machine's memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			b, err := mem.ParseBytes(f[1] + "Ki")
			return mem.LimitOf(b), err
		}
	}
	return mem.Limit{}, errors.New("read the machine's memory: /proc/meminfo has no MemTotal")
}
