package vmlab

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
)

// testMemory is what a machine for tests has.
const testMemory = mem.GiB

// RunTests runs a static test program with the arguments in a machine of its own,
// as root and on the chosen version of cgroups, next to /oomlab-stressor, which
// OOMLAB_STRESSOR names. Say gets its output, a line each. The error says that it
// failed, or that the machine did. There is no disk: /var/tmp is a ramfs.
func RunTests(ctx context.Context, program string, args []string, o Options, say func(line string)) error {
	files, err := startFiles(ctx, wire.Job{Tests: true, Args: args, CgroupVersion: o.CgroupVersion}, nil, stressor)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the guest's tests: %w", err)
	}
	files = append(files, file{name: wire.Tests[1:], mode: 0o755, data: data})
	m := machine{kernel: o.Kernel, memory: testMemory, accelerator: o.Accelerator}
	out, err := m.play(ctx, files, bootTime, func(m wire.Message) { say(m.Line) })
	if err == nil && out.last.Error != "" {
		err = errors.New(out.last.Error)
	}
	if err != nil {
		return fmt.Errorf("run %s on kernel %s: %w", program, o.KernelName, err)
	}
	return nil
}
