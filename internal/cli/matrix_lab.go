package cli

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/lab/kindlab"
	"github.com/oomlab/oomlab/internal/lab/vmlab"
	"github.com/oomlab/oomlab/internal/matrix"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

// make brings the lab up and makes the runs that are missing.
func (o matrixOptions) make(ctx context.Context, plan matrix.Plan, runs []*matrix.Run, progress *matrixProgress) (err error) {
	lab, end, err := o.openLab(ctx, plan.Cells, progress.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if o.parallel > 0 {
		lab.AtOnce = min(lab.AtOnce, o.parallel)
	}
	progress.say("%d runs to make, %d at once", len(runs)-progress.ended, lab.AtOnce)
	return lab.Make(ctx, runs, progress.begin, progress.end)
}

// openLab returns a lab with a place for each cell, and what ends it.
func (o matrixOptions) openLab(ctx context.Context, cells []matrix.Cell, out io.Writer) (lab matrix.Lab, end func() error, err error) {
	lab = matrix.Lab{
		AtOnce: 1,
		Needs:  func(s *scenarios.Scenario) mem.Bytes { return s.Node.Memory.Bytes },
		Free: func() (mem.Bytes, error) {
			available, err := evidence.MemAvailable()
			return available - run.HostReserve, err
		},
	}
	end = func() error { return nil }
	if o.lab == "vm" {
		lab.AtOnce, lab.Needs = runtime.NumCPU(), vmlab.HostMemory
		if o.vmNodes() {
			lab.AtOnce, lab.Needs = max(1, runtime.NumCPU()/vmlab.NodeProcessors), vmlab.NodeHostMemory
		}
		lab.Play, err = o.playInVMs(ctx, cells, out)
		return lab, end, err
	}
	facts, err := host.Read()
	if err != nil {
		return lab, end, err
	}
	places := map[string]run.Lab{} // by the cell's path
	lab.Play = func(ctx context.Context, r *matrix.Run) (*record.Record, error) {
		return run.Run(ctx, places[r.Cell.Path], r.Scenario, run.Options{Host: facts.Record()})
	}
	if o.lab == "cgroup" {
		for _, c := range cells {
			kubelet, err := o.kubeletOf(c)
			if err != nil {
				return lab, end, err
			}
			if places[c.Path], err = cgrouplab.New(ctx, cgrouplab.Options{Kubelet: kubelet, LowestAdj: facts.LowestAdj}); err != nil {
				return lab, end, err
			}
		}
		return lab, end, nil
	}
	cluster, err := o.openKind(ctx, cells, facts, out)
	if err != nil {
		return lab, end, err
	}
	for i, worker := range cluster.Workers() {
		places[cells[i].Path] = cluster.Lab(worker)
	}
	lab.AtOnce, lab.OneInCell = min(len(cells), runtime.NumCPU()), true
	return lab, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		return cluster.Delete(ctx)
	}, nil
}

// kubeletOf returns the kubelet that a cell without a real one calculates with.
func (o matrixOptions) kubeletOf(c matrix.Cell) (qos.Version, error) {
	if v := c.Value(matrix.Kubelet); v != "" {
		return qos.ParseVersion(v)
	}
	return qos.ParseVersion(o.kubernetes)
}

// vmNodes reports whether the machines of the vm lab have a kubelet of their own.
func (o matrixOptions) vmNodes() bool { return o.lab == "vm" && len(o.kubelets)+len(o.containerd) > 0 }

// playInVMs returns what runs a scenario in a machine of the run's cell, and
// leaves the kernel's log beside the record.
func (o matrixOptions) playInVMs(ctx context.Context, cells []matrix.Cell, out io.Writer) (func(context.Context, *matrix.Run) (*record.Record, error), error) {
	machines := map[string]vmlab.Options{} // by the cell's path
	for _, c := range cells {
		kubelet, err := o.kubeletOf(c)
		if err != nil {
			return nil, err
		}
		vm := vmOptions{kernel: c.Value(matrix.Kernel), cgroup: 2, seed: noSeed}
		if c.Value(matrix.Cgroup) == "v1" {
			vm.cgroup = 1
		}
		if o.vmNodes() {
			vm.node = nodeRecipe(c.Value(matrix.Kubelet), c.Value(matrix.Containerd))
		}
		if o.seeded {
			vm.seed = 0 // each run has its own
		}
		if machines[c.Path], _, err = vm.machine(ctx, kubelet, out); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, r *matrix.Run) (*record.Record, error) {
		machine := machines[r.Cell.Path]
		if machine.Log = logBeside(r.Path); o.seeded {
			seed := r.Seed()
			machine.Seed = &seed
		}
		return vmlab.Run(ctx, r.Scenario, machine)
	}, nil
}

// openKind makes a cluster with a worker for each cell, in their order.
func (o matrixOptions) openKind(ctx context.Context, cells []matrix.Cell, facts host.Facts, out io.Writer) (*kindlab.Cluster, error) {
	up := kindlab.UpOptions{Kubernetes: o.kubernetes, Host: facts, Out: out}
	if n := len(o.nodeImages); n > 0 {
		up.NodeImage = o.nodeImages[n-1]
	}
	for _, c := range cells {
		up.Workers = append(up.Workers, nodeimage.Options{Ref: c.Value(matrix.NodeImage), Recipe: nodeimage.Recipe{
			Kubernetes: o.kubernetes, Kubelet: c.Value(matrix.Kubelet), Containerd: c.Value(matrix.Containerd),
		}})
	}
	return kindlab.Up(ctx, up)
}
