package vmlab

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/oomlab/oomlab/internal/apt"
)

// slowClockPackage is where Debian has slowClockLibrary, which slows QEMU's
// clocks down.
const slowClockPackage = "libfaketime"

var slowClockLibrary = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1" // tests have another

// InstallSlowClock makes sure that a machine's clocks can be slowed down, as
// Install does for QEMU.
func InstallSlowClock(ctx context.Context, out io.Writer) error {
	if err := apt.Ensure(ctx, out, slowClockPackage); err != nil {
		return fmt.Errorf("the clocks of a machine whose instructions are translated: %w", err)
	}
	return nil
}

// slowClock returns the environment in which QEMU's clocks, and with them every
// clock of the guest, take so many seconds for one. The guest then finds itself
// on a machine that is as many times faster, with all that is on it: no limit on
// a wait, whoever sets it, has to be told that instructions are translated.
func slowClock(slowdown int) ([]string, error) {
	if slowdown <= 1 {
		return nil, nil
	}
	if _, err := os.Stat(slowClockLibrary); err != nil {
		return nil, fmt.Errorf("slow QEMU's clocks down (Debian's package is %s): %w", slowClockPackage, err)
	}
	return []string{"LD_PRELOAD=" + slowClockLibrary, fmt.Sprintf("FAKETIME=+0 x%g", 1/float64(slowdown))}, nil
}
