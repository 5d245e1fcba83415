package vmlab

import (
	"context"
	"errors"
	"time"

	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
)

// System describes a machine with disks, and the program that it is for.
type System struct {
	// Kernel is the file of a Linux kernel for x86-64, and Modules the files of
	// those of its modules that a disk needs, in the order of their loading.
	Kernel  string
	Modules []string
	// Root and Input are files with the disks' file systems, ext4. The guest
	// does not change them. See wire for what is on them.
	Root, Input string
	// Output is a file that takes the results, a tar stream. It has the room
	// that they may take.
	Output      string
	Memory      mem.Bytes
	Swap        mem.Bytes // in a file on the first disk; 0: none
	Processors  int
	Accelerator Accelerator
	// Slowdown is how many seconds of this machine one second of the guest takes;
	// 0 is 1. See InstallSlowClock.
	Slowdown int
	// Limit bounds it all.
	Limit time.Duration
	// Log is the file that takes the kernel's log, as that of Options.
	Log     string
	Program wire.Program
	// Say is called with every line that the program prints.
	Say func(line string)
}

// Run boots the machine, runs the program and returns its exit code. An error
// says that there is none, or that the results are not all there.
func (s System) Run(ctx context.Context) (code int, err error) {
	files, err := s.files(ctx)
	if err != nil {
		return 0, err
	}
	m := machine{
		kernel: s.Kernel, memory: s.Memory, accelerator: s.Accelerator, processors: s.Processors, log: s.Log,
		slowdown: s.Slowdown,
		disks:    []disk{{file: s.Root}, {file: s.Input}, {file: s.Output, written: true}},
	}
	out, err := m.play(ctx, files, s.Limit, func(m wire.Message) { s.Say(m.Line) })
	if err != nil {
		return 0, err
	}
	if out.last.Error != "" {
		return out.last.ExitCode, errors.New("in the guest: " + out.last.Error)
	}
	return out.last.ExitCode, nil
}

// Describe says what the machine is made from, for the records of what ran in
// it. kernelName is the package of the kernel, or its file.
func (s System) Describe(ctx context.Context, kernelName string) (*record.VM, error) {
	vm, err := describe(ctx, Options{Kernel: s.Kernel, KernelName: kernelName, Accelerator: s.Accelerator})
	if err == nil {
		vm.Memory, vm.Slowdown = s.Memory, s.Slowdown
	}
	return vm, err
}

func (s System) files(ctx context.Context) ([]file, error) {
	return startFiles(ctx, wire.Job{Program: &s.Program, Swap: s.Swap}, s.Modules)
}
