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
	text, err := readCgroup("memory.limit_in_bytes", "memory.max")
	if err != nil {
		return mem.Limit{}, fmt.Errorf("read memory limit: %w: give it with -limit", err)
	}
	return mem.ParseLimit(text)
}

// ReadUsage reads what is charged to the process's own cgroup.
func ReadUsage() (mem.Bytes, error) {
	text, err := readCgroup("memory.usage_in_bytes", "memory.current")
	if err != nil {
		return 0, fmt.Errorf("read memory usage: %w", err)
	}
	return mem.ParseBytes(strings.TrimSpace(text))
}

// readCgroup reads a file of the process's own memory cgroup, by its name in
// version 1 or 2.
func readCgroup(v1, v2 string) (string, error) {
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for _, path := range cgroupFiles(string(cgroups), v1, v2) {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return string(data), err
	}
	return "", errors.New("no memory cgroup under /sys/fs/cgroup")
}

// cgroupFiles lists where the file may be, given /proc/self/cgroup. Inside a
// container the path in there is often relative to a root that is not mounted,
// and the container's own cgroup is the root of what is.
func cgroupFiles(cgroups, v1, v2 string) []string {
	var files []string
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // id:controllers:path
		if len(f) != 3 {
			continue
		}
		for _, controller := range strings.Split(f[1], ",") {
			switch controller {
			case "memory":
				files = append([]string{"/sys/fs/cgroup/memory" + f[2] + "/" + v1, "/sys/fs/cgroup/memory/" + v1}, files...)
			case "": // version 2
				files = append(files, "/sys/fs/cgroup"+f[2]+"/"+v2, "/sys/fs/cgroup/"+v2)
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
