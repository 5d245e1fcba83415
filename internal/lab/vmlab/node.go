package vmlab

import (
	"context"
	"errors"
	"time"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/scenarios"
)

// Node is what makes a machine a node of Kubernetes, without an API server.
type Node struct {
	// Disk is a file with the root file system of a node image: containerd and a
	// kubelet. The guest does not change it.
	Disk string
	// Modules are the files of those of the kernel's modules that the disk and
	// containers need, in the order of their loading.
	Modules []string
}

// NodeModules are the modules that a node needs. Those that are built into the
// kernel have no file.
var NodeModules = []string{"virtio_pci", "virtio_blk", "ext4", "overlay"}

const (
	// nodeOverhead is what a machine with a kubelet takes beside the node: the
	// kernel, and what came with the initramfs.
	nodeOverhead = 384 * mem.MiB
	// nodeTime bounds what such a machine may take beside the scenario's own
	// pressure, on a host that is busy.
	nodeTime = 10 * time.Minute
	// NodeProcessors: containers are started while others run.
	NodeProcessors = 2
	// slower is how many times longer a wait may take where every instruction is
	// translated.
	slower = 10
)

func nodeMemory(s *scenarios.Scenario) mem.Bytes { return s.Node.Memory.Bytes + nodeOverhead }

// NodeHostMemory returns what a machine with a kubelet may take of the host.
func NodeHostMemory(s *scenarios.Scenario) mem.Bytes { return nodeMemory(s) + hostOverhead }

// prepareNode makes m a machine with a kubelet, and returns its initramfs: the
// init, the modules, the program that runs the scenario, the stressor's image,
// and the job.
func (o Options) prepareNode(ctx context.Context, m *machine, job wire.Job) ([]file, error) {
	switch {
	case o.CgroupVersion != 2:
		return nil, errors.New("a kubelet is run with the second version of cgroups alone: leave --cgroup out")
	case o.Seed != nil:
		return nil, errors.New("a seed needs a machine without a disk, and so without a kubelet: leave one of them out")
	}
	m.memory, m.processors, m.disks = nodeMemory(job.Scenario), NodeProcessors, []disk{{file: o.Node.Disk}}
	image, err := kubelet.PackStressor(ctx)
	if err != nil {
		return nil, err
	}
	job.Swap = job.Scenario.Node.Swap.Bytes
	job.Node = &wire.Node{Image: image.Ref, Patience: patience.Of(1)}
	if o.Accelerator == TCG {
		job.Node.Patience = patience.Of(slower)
	}
	files, err := startFiles(ctx, job, o.Node.Modules, node)
	if err != nil {
		return nil, err
	}
	return append(files, file{name: wire.StressorImage, mode: 0o644, data: image.Archive}), nil
}
