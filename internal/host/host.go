// Package host says what the machine is and what it lets us do. A requirement
// is probed by doing what it is about, never inferred from a version or a
// distribution's name, and carries what was seen as its proof.
package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
)

// Facts are what the machine is: what a run's outcome may depend on.
type Facts struct {
	Kernel string `json:"kernel"` // release, as uname -r prints it
	CPUs   int    `json:"cpus"`

	MemTotal     mem.Bytes `json:"memTotalBytes"`
	MemAvailable mem.Bytes `json:"memAvailableBytes"`
	SwapTotal    mem.Bytes `json:"swapTotalBytes"`
	// HugePages is what is set aside for huge pages of all sizes; the kubelet
	// subtracts it from what pods can have.
	HugePages mem.Bytes `json:"hugePagesBytes"`

	// CgroupVersion is the memory controller's, 1 or 2, mounted at CgroupMount.
	// Hybrid says that cgroup2 is mounted too, without that controller.
	CgroupVersion int    `json:"cgroupVersion"`
	CgroupMount   string `json:"cgroupMount"`
	Hybrid        bool   `json:"cgroupHybrid"`

	// THP is the selected mode of transparent huge pages: always, madvise,
	// never. LRUGen is the mask of the multi-generational LRU. Each is "" where
	// the kernel has no such setting.
	THP    string `json:"transparentHugepage,omitempty"`
	LRUGen string `json:"lruGen,omitempty"`

	BoundingSet Capabilities `json:"boundingSet"`
	// Nofile and Nproc are the hard limits of this process.
	Nofile uint64 `json:"hardLimitNofile"`
	Nproc  uint64 `json:"hardLimitNproc"`

	// LowestAdj is the lowest oom_score_adj that a process can be given here,
	// -1000 to 1000, and LowestAdjProof how that was found.
	LowestAdj      int    `json:"lowestOOMScoreAdj"`
	LowestAdjProof string `json:"lowestOOMScoreAdjProof"`
}

// Read gathers the facts. What it could not read is in the error, and its
// fields are not to be trusted.
func Read() (Facts, error) {
	f := Facts{CPUs: runtime.NumCPU()}
	return f, errors.Join(f.readKernel(), f.readMemory(), f.readCgroup(), f.readLimits())
}

func (f *Facts) readKernel() (err error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("read kernel release: %w", err)
	}
	f.Kernel = unix.ByteSliceToString(uts.Release[:])
	thp, err := readSetting("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		return err
	}
	f.THP = selected(thp)
	f.LRUGen, err = readSetting("/sys/kernel/mm/lru_gen/enabled")
	return err
}

func (f *Facts) readMemory() error {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return fmt.Errorf("read memory of the machine: %w", err)
	}
	return f.parseMeminfo(string(text))
}

func (f *Facts) readCgroup() error {
	h, err := evidence.FindHierarchy()
	if err != nil {
		return err
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	f.CgroupVersion, f.CgroupMount = h.Version, h.Mount
	f.Hybrid = h.Version == 1 && hasFilesystem(string(mounts), "cgroup2")
	return nil
}

func (f *Facts) readLimits() (err error) {
	var nofile, nproc unix.Rlimit
	if err := errors.Join(unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile), unix.Getrlimit(unix.RLIMIT_NPROC, &nproc)); err != nil {
		return fmt.Errorf("read hard limits: %w", err)
	}
	f.Nofile, f.Nproc = nofile.Max, nproc.Max
	if f.BoundingSet, err = BoundingSet(os.Getpid()); err != nil {
		return err
	}
	f.LowestAdj, f.LowestAdjProof, err = lowestAdj()
	return err
}

// parseMeminfo reads /proc/meminfo, whose numbers are kB of 1024 bytes.
func (f *Facts) parseMeminfo(text string) error {
	want := map[string]*mem.Bytes{
		"MemTotal": &f.MemTotal, "MemAvailable": &f.MemAvailable, "SwapTotal": &f.SwapTotal, "Hugetlb": &f.HugePages,
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		field, ok := want[name]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(mem.KiB) {
			return fmt.Errorf("read /proc/meminfo: line %q: want %s: N kB", line, name)
		}
		*field = mem.Bytes(n) * mem.KiB
		delete(want, name)
	}
	for name := range want {
		return fmt.Errorf("read /proc/meminfo: it has no %s (Linux 4.18 and later have)", name)
	}
	return nil
}

// selected returns the word in brackets: "madvise" of "always [madvise] never".
func selected(setting string) string {
	_, after, _ := strings.Cut(setting, "[")
	word, _, _ := strings.Cut(after, "]")
	return word
}

// hasFilesystem reports whether /proc/self/mounts has a mount of this type.
func hasFilesystem(mounts, fstype string) bool {
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == fstype {
			return true
		}
	}
	return false
}

// readSetting reads a file of one line; "" is a kernel without it.
func readSetting(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read kernel setting: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
