// Vm runs the end-to-end suite in a virtual machine: Debian's docker, the
// second version of cgroups alone, every capability, a chosen kernel. The suite
// is the same one, compiled; its kind clusters run in the machine. What it
// prints comes out line by line, its artifacts at the end. The exit code is the
// suite's; 2 says that it could not be run.
//
//	go test -c -tags e2e -o bin/e2e.test ./e2e
//	go run ./e2e/vm -kernel 6.12 -label-filter qos-order
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/guestimage"
	"github.com/oomlab/oomlab/internal/kernelimage"
	"github.com/oomlab/oomlab/internal/lab/vmlab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/patience"
)

// The machine.
const (
	memory     = 5 * mem.GiB // a control plane, a worker of at most 2 GiB, docker
	processors = 2
	swap       = 2 * mem.GiB // nodes have none of it unless a scenario says so
	// slowdown is how many seconds one of the guest takes where every instruction
	// is translated, which takes Kubernetes some twenty times as long. What is
	// left, slower, is how many times longer a wait may take.
	slowdown = 4
	slower   = 5
	// diskSize bounds what the suite needs, and its artifacts. It is sparse.
	diskSize = 512 * mem.MiB
)

type options struct {
	kernel, kubernetes, labels, suite, artifacts string
	limit                                        time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.kernel, "kernel", "6.12", "a series of Debian's `kernels`, or a version")
	flag.StringVar(&o.kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "the `version` of Kubernetes")
	flag.StringVar(&o.labels, "label-filter", "quick", "Ginkgo's `filter` of what is run")
	flag.StringVar(&o.suite, "suite", "bin/e2e.test", "the compiled suite")
	flag.StringVar(&o.artifacts, "artifacts", "artifacts/v2", "the `directory` for what the suite leaves")
	flag.DurationVar(&o.limit, "limit", 2*time.Hour, "when the machine is ended")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/vm:", err)
		code = 2
	}
	os.Exit(code)
}

func (o options) run(ctx context.Context) (code int, err error) {
	if err := os.RemoveAll(o.artifacts); err != nil { // those of an earlier run
		return 0, err
	}
	system, kernel, modules, err := o.machine(ctx)
	if err != nil {
		return 0, err
	}
	parent, err := cache.Dir("work")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(parent, "e2e-vm-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	system.Input, system.Output = filepath.Join(dir, "input.ext4"), filepath.Join(dir, "results.tar")
	if err := o.makeInput(ctx, system.Input, filepath.Join(dir, "tree"), modules.Dir); err != nil {
		return 0, err
	}
	if err := makeOutput(system.Output); err != nil {
		return 0, err
	}
	vm, err := system.Describe(ctx, kernel.Package)
	if err != nil {
		return 0, err
	}
	code, err = system.Run(ctx)
	took := time.Since(vm.Started)
	fmt.Fprintf(os.Stderr, "the machine ended after %s\n", took.Round(time.Second))
	vm.ElapsedSeconds = took.Seconds()
	return code, errors.Join(err, unpack(system.Output, o.artifacts), noteMachine(filepath.Join(o.artifacts, "records"), vm))
}

// machine gathers what the machine is made from, but for the disks of this run,
// and says how it will be run.
func (o options) machine(ctx context.Context) (s vmlab.System, kernel kernelimage.Image, modules kernelimage.Modules, err error) {
	s = vmlab.System{
		Memory: memory, Swap: swap, Processors: processors, Limit: o.limit,
		Log: filepath.Join(o.artifacts, "kernel.log"), Say: func(line string) { fmt.Println(line) },
	}
	if kernel, err = kernelimage.Find(ctx, os.Stderr, o.kernel); err != nil {
		return s, kernel, modules, err
	}
	s.Kernel = kernel.File
	if modules, err = kernelimage.FetchModules(ctx, os.Stderr, kernel); err != nil {
		return s, kernel, modules, err
	}
	if s.Modules, err = modules.Load("virtio_pci", "virtio_blk", "ext4"); err != nil {
		return s, kernel, modules, err
	}
	recipe := nodeimage.Recipe{Kubernetes: o.kubernetes}.WithDefaults()
	if s.Root, err = guestimage.Root(ctx, os.Stderr, recipe); err != nil {
		return s, kernel, modules, err
	}
	if err := vmlab.Install(ctx, os.Stderr); err != nil {
		return s, kernel, modules, err
	}
	proof, err := vmlab.Prove(ctx, kernel.File)
	if err != nil {
		return s, kernel, modules, err
	}
	s.Accelerator, s.Program = proof.Accelerator, o.program(recipe.Ref(), proof.Accelerator)
	fmt.Fprintf(os.Stderr, "booting %s with docker (%s)\n", kernel.Package, proof.Text)
	if proof.Accelerator == vmlab.TCG {
		s.Slowdown = slowdown
		fmt.Fprintf(os.Stderr, "its clock is slower than this machine's: %d s of this one are 1 s there\n", slowdown)
		err = vmlab.InstallSlowClock(ctx, os.Stderr)
	}
	return s, kernel, modules, err
}

// workDir is where the suite finds in the guest what it finds in the repository.
const workDir = "/work"

// program is the suite, in the guest.
func (o options) program(nodeImage string, accelerator vmlab.Accelerator) wire.Program {
	factor := 1
	if accelerator == vmlab.TCG {
		factor = slower
	}
	artifacts := filepath.Join(workDir, "artifacts")
	return wire.Program{
		Dir: filepath.Join(workDir, "e2e"), Results: artifacts,
		Files: map[string]string{"kind-config.yaml": filepath.Join(workDir, "kind-config.yaml")},
		Argv: []string{
			filepath.Join(wire.InputDir, "e2e.test"), "-test.timeout=0", "-ginkgo.v", "-ginkgo.no-color",
			"-ginkgo.timeout=" + o.limit.String(), "-ginkgo.label-filter=" + o.labels,
			"-ginkgo.junit-report=" + filepath.Join(artifacts, "junit.xml"), "-ginkgo.json-report=" + filepath.Join(artifacts, "ginkgo.json"),
		},
		Env: []string{
			"OOMLAB_STRESSOR=" + filepath.Join(wire.InputDir, "oomlab-stressor"), "OOMLAB_CACHE=/var/cache/oomlab",
			"OOMLAB_ENGINE=docker", "OOMLAB_NO_INSTALL=1", "NODE_IMAGE=" + nodeImage, "HOME=/root",
			fmt.Sprintf("%s=%d", patience.Env, factor),
		},
	}
}
