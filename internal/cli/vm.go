package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/oomlab/oomlab/internal/lab/vmlab"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// vmOptions are the flags of the vm lab.
type vmOptions struct {
	kernel string
	cgroup int
	seed   int
}

func (o *vmOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.kernel, "kernel", "", "vm lab: the `kernel`, a series such as 6.12 or the file of one")
	f.IntVar(&o.cgroup, "cgroup", 2, "vm lab: `version` of the cgroups, 1 or 2")
	f.IntVar(&o.seed, "seed", -1, "vm lab: run deterministically, one schedule for each `number` from 0")
}

// openVM returns what runs a scenario in a virtual machine.
func (o runOptions) openVM(_ context.Context, kubelet qos.Version, _ io.Writer) (player, error) {
	if o.vm.cgroup != 1 && o.vm.cgroup != 2 {
		return nil, fmt.Errorf("--cgroup %d: want 1 or 2", o.vm.cgroup)
	}
	if _, err := os.Stat(o.vm.kernel); err != nil {
		return nil, fmt.Errorf("--kernel: %w", err)
	}
	options := vmlab.Options{
		Kernel: o.vm.kernel, KernelName: filepath.Base(o.vm.kernel),
		Kubelet: kubelet, CgroupVersion: o.vm.cgroup, Accelerator: vmlab.TCG,
	}
	if o.vm.seed >= 0 {
		options.Seed = &o.vm.seed
	}
	return func(ctx context.Context, s *scenarios.Scenario, observe func(record.Event)) (*record.Record, error) {
		options := options
		options.Observe = observe
		return vmlab.Run(ctx, s, options)
	}, nil
}
