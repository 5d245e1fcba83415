package balloon

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const thpEnabled = "/sys/kernel/mm/transparent_hugepage/enabled"

// AvoidHugeHeap makes sure that the Go runtime's own memory is not backed by
// huge pages, which would triple the footprint. The runtime has mapped its heap
// before main begins, so where the kernel gives huge pages unasked the program
// switches them off for itself and executes itself again; the setting survives
// that. It is lifted again for plans of the kind thp.
func AvoidHugeHeap() error {
	mode, err := os.ReadFile(thpEnabled)
	if err != nil || !strings.Contains(string(mode), "[always]") {
		return nil //nolint:nilerr // a kernel without them gives none
	}
	if disabled, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0); err != nil || disabled != 0 {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("switch huge pages off: %w", err)
	}
	return fmt.Errorf("execute again: %w", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// allowHugePages lets the process use the huge pages that it asks for.
func allowHugePages() error {
	mode, err := os.ReadFile(thpEnabled)
	if err != nil || strings.Contains(string(mode), "[never]") {
		return fmt.Errorf("thp: %s does not say always or madvise: this kernel gives no transparent huge pages", thpEnabled)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("thp: %w", err)
	}
	if err := keepBasePages(string(maps)); err != nil {
		return fmt.Errorf("thp: keep the heap in base pages: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("thp: switch huge pages on: %w", err)
	}
	return nil
}

// keepBasePages refuses huge pages for all private memory that is mapped now:
// the Go runtime's.
func keepBasePages(maps string) error {
	for line := range strings.Lines(maps) {
		// 7f840db60000-7f840dd00000 rw-p 00000000 00:00 0
		f := strings.Fields(line)
		if len(f) != 5 || f[1] != "rw-p" || f[4] != "0" {
			continue // a file, or with a name: [stack]
		}
		from, to, _ := strings.Cut(f[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		// Not as a slice: no Go value is at stake.
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_NOHUGEPAGE)
		if errno != 0 && errno != unix.EINVAL { // EINVAL: no THP in this kernel
			return errno
		}
	}
	return nil
}
