package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/oomlab/oomlab/internal/mem"
)

// Reclaim returns how often a limit of the cgroup or of one below it was
// reached, so that the kernel had to reclaim (memory.failcnt in cgroup v1, max
// of memory.events in v2), and how many pages of files were read again after
// that (workingset_refault_file, Linux 5.9 and later). Both are counters: use
// differences.
func (h Hierarchy) Reclaim(path string) (limitHits int64, refaults mem.Pages, err error) {
	stat, prefix := filepath.Join(h.Dir(path), "memory.stat"), ""
	if h.Version == 2 {
		limitHits, err = readKey(filepath.Join(h.Dir(path), "memory.events"), "max")
	} else {
		prefix = "total_"
		limitHits, err = h.failures(path)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read what cgroup %s has reclaimed: %w", path, err)
	}
	n, err := readKey(stat, prefix+"workingset_refault_file")
	if err != nil {
		return 0, 0, fmt.Errorf("read what cgroup %s has read again: %w", path, err)
	}
	return limitHits, mem.Pages(n), nil
}

// failures adds up memory.failcnt, which counts for each cgroup alone.
func (h Hierarchy) failures(path string) (sum int64, err error) {
	paths, err := h.Walk(path)
	if err != nil {
		return 0, err
	}
	for _, p := range paths {
		n, err := readInt(filepath.Join(h.Dir(p), "memory.failcnt"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return 0, err
		}
		sum += int64(n)
	}
	return sum, nil
}
