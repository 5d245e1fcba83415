// Package vmlab runs a scenario, tests or a program on another kernel: in a virtual machine whose
// init is a program of this module and carries the engine, the cgroup lab and
// the stressor inside. There every capability is there, so that scores are what
// the kubelet gives, down to -997, and the whole machine may run out of memory.
// It needs QEMU, and neither root nor KVM.
package vmlab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// Options describe a machine and what it is for.
type Options struct {
	// Kernel is the file of a Linux kernel for x86-64 (a bzImage), and
	// KernelName what the record calls it.
	Kernel, KernelName string
	// Kubelet is the version whose formulas give the scores.
	Kubelet qos.Version
	// Node, where it is not nil, has a kubelet of its own run the scenario's pods.
	Node *Node
	// CgroupVersion is 1 or 2.
	CgroupVersion int
	Accelerator   Accelerator
	// User is the user that the scenario is run as in the guest, with nothing
	// but a delegated cgroup; 0 is root.
	User int
	// Seed makes the run deterministic: one seed, one schedule, whatever the
	// host does. It is a number of 0 or more and needs TCG. nil: the host's
	// timing decides.
	Seed *int
	// Log is the file that takes the kernel's log, also where the machine does
	// not finish: then what its console showed. Empty: it is not kept.
	Log string
	// Observe is called with every line of the story, in order.
	Observe func(record.Event)
}

const (
	// guestOverhead is what the kernel, its page array and oomlab take beside
	// the node, in a machine that is not itself the node.
	guestOverhead = 256 * mem.MiB
	// hostOverhead is what QEMU takes beside the guest's memory, most of it for
	// translated code.
	hostOverhead = 256 * mem.MiB
	// bootTime bounds what a machine may take beside the scenario's own pressure.
	bootTime = 2 * time.Minute
)

// Memory returns what a machine for this scenario has: a node that is bounded
// by its cgroup fits in, and where the whole machine runs out it is the node.
func Memory(s *scenarios.Scenario) mem.Bytes {
	if s.Node.Domain == qos.LevelGlobal {
		return s.Node.Memory.Bytes
	}
	return s.Node.Memory.Bytes + guestOverhead
}

// HostMemory returns what that machine may take of the host.
func HostMemory(s *scenarios.Scenario) mem.Bytes { return Memory(s) + hostOverhead }

// Run runs the scenario in a machine of its own. The record comes back whenever
// the guest had one, even next to an error, as from run.Run.
func Run(ctx context.Context, s *scenarios.Scenario, o Options) (*record.Record, error) {
	if o.Seed != nil && o.Accelerator == KVM {
		return nil, errors.New("a seed needs every instruction counted, which KVM can't: leave one of them out")
	}
	m := machine{kernel: o.Kernel, memory: Memory(s), accelerator: o.Accelerator, seed: o.Seed, log: o.Log}
	job := wire.Job{Scenario: s, Kubelet: o.Kubelet, CgroupVersion: o.CgroupVersion, User: o.User, Seed: o.Seed}
	var files []file
	var err error
	if o.Node != nil {
		files, err = o.prepareNode(ctx, &m, job)
	} else if err = refuse(s); err == nil {
		files, err = startFiles(ctx, job, nil, stressor)
	}
	if err != nil {
		return nil, err
	}
	vm, err := describe(ctx, o)
	if err != nil {
		return nil, err
	}
	out, err := m.play(ctx, files, o.limit(s), func(m wire.Message) {
		if m.Event != nil && o.Observe != nil {
			o.Observe(*m.Event)
		}
	})
	r := out.last.Record
	if r != nil {
		vm.Memory, vm.ElapsedSeconds = m.memory, time.Since(vm.Started).Seconds()
		r.VM = vm
	}
	if err != nil {
		return r, fmt.Errorf("run %s on kernel %s: %w", s.Metadata.Name, o.KernelName, err)
	}
	if out.last.Error != "" {
		return r, fmt.Errorf("on kernel %s: %s", o.KernelName, out.last.Error)
	}
	return r, nil
}

// refuse names what of a scenario needs a disk: in a machine without one all
// files lie in memory, which reclaim can't drop.
func refuse(s *scenarios.Scenario) error {
	for _, w := range s.Workloads {
		for _, c := range w.EachContainer() {
			files, err := c.Uses(plan.File, plan.Dirty, plan.Mapped)
			if err != nil {
				return err
			}
			if files {
				return fmt.Errorf("container %s of %s keeps files in the page cache, and a machine without a kubelet has no disk that they could be read from again: add --kubelet, or use --lab kind or cgroup", c.Name, w.Name)
			}
		}
	}
	return nil
}

// limit bounds a machine for the scenario.
func (o Options) limit(s *scenarios.Scenario) time.Duration {
	if o.Node != nil {
		return nodeTime + s.Until.Deadline()
	}
	return bootTime + s.Until.Deadline()
}

// play boots a machine as soon as the host has room for it, and bounds it.
func (m machine) play(ctx context.Context, files []file, limit time.Duration, observe func(wire.Message)) (outcome, error) {
	if err := patience.Check(); err != nil {
		return outcome{}, err
	}
	limit = patience.With(limit)
	ctx, unguard, err := run.Guard(ctx, m.memory+hostOverhead)
	if err != nil {
		return outcome{}, err
	}
	defer unguard()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it was ended after %s (%s=3 gives it three times as long)", limit, patience.Env))
	defer cancel()
	return m.boot(ctx, files, observe)
}

// describe says what a machine is made from.
func describe(ctx context.Context, o Options) (*record.VM, error) {
	version, err := Version(ctx)
	if err != nil {
		return nil, err
	}
	kernel, err := os.ReadFile(o.Kernel)
	if err != nil {
		return nil, fmt.Errorf("read the kernel: %w", err)
	}
	return &record.VM{
		KernelName: o.KernelName, KernelSHA256: fmt.Sprintf("%x", sha256.Sum256(kernel)),
		QEMU: version, Accelerator: string(o.Accelerator), Seed: o.Seed, Started: time.Now().UTC(),
	}, nil
}
