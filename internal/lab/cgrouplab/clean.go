package cgrouplab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
)

// Clean removes the cgroups of runs that have ended without removing them. A
// run's cgroup is named after its process: one that still runs is left alone.
// Its stressors died with it.
func Clean(say func(what string)) error {
	h, err := evidence.FindHierarchy()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(h.Mount)
	if err != nil {
		return fmt.Errorf("look for left cgroups: %w", err)
	}
	var errs []error
	for _, e := range entries {
		pid, err := strconv.Atoi(strings.TrimPrefix(e.Name(), Prefix))
		if !strings.HasPrefix(e.Name(), Prefix) || err != nil || unix.Kill(pid, 0) == nil {
			continue
		}
		paths, err := h.Walk("/" + e.Name())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		slices.Reverse(paths)
		for _, path := range paths {
			errs = append(errs, os.Remove(h.Dir(path)))
		}
		say("removed cgroup " + filepath.Join(h.Mount, e.Name()))
	}
	return errors.Join(errs...)
}
