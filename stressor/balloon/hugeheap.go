package balloon

import (
	"fmt"
	"os"
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
		return nil // a kernel without them gives none
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
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("thp: switch huge pages on: %w", err)
	}
	return nil
}
