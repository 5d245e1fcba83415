package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/mem"
)

const (
	probeImage = "localhost/oomlab/probe:latest"

	// probeTimeout bounds one probe; a working engine takes two seconds.
	probeTimeout = time.Minute

	// probeLimit is the memory limit of the probe's container at its start, and
	// probeUpdate the one that it is changed to.
	probeLimit  = 64 * mem.MiB
	probeUpdate = 96 * mem.MiB
)

// observation is what the host shows of a running container.
type observation struct {
	capabilities host.Capabilities
	limit, swap  mem.Limit // as evidence.Hierarchy returns them
	version      int       // of the memory cgroup hierarchy
}

// observe looks at a container and its first process from outside.
func observe(id string, pid int) (observation, error) {
	var o observation
	h, err := evidence.FindHierarchy()
	if err != nil {
		return o, err
	}
	o.version = h.Version
	cgroup, err := cgroupOf(h, id, pid)
	if err != nil {
		return o, err
	}
	if o.capabilities, err = host.EffectiveCapabilities(pid); err != nil {
		return o, err
	}
	if o.limit, err = h.Limit(cgroup); err != nil {
		return o, err
	}
	o.swap, err = h.SwapLimit(cgroup)
	return o, err
}

// prove starts a container the way kind starts its nodes, with a network, a
// published port and every privilege, changes its memory limit, and removes it.
// It returns what it saw.
func (f finder) prove(ctx context.Context, e *Engine) (proof string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	root, err := probeRootFS()
	if err != nil {
		return "", err
	}
	// kind mounts it into every node, but a machine without modules lacks it.
	if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
		return "", fmt.Errorf("make /lib/modules, which kind needs: %w", err)
	}
	name := fmt.Sprintf("oomlab-probe-%d", os.Getpid())
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		err = errors.Join(err, e.Remove(ctx, name), e.RemoveImage(ctx, probeImage))
	}()
	// An image under that name is what a killed oomlab left.
	if err := e.RemoveImage(ctx, probeImage); err != nil {
		return "", err
	}
	if err := e.finish(ctx, bytes.NewReader(root), "import", "-", probeImage); err != nil {
		return "", err
	}
	start := time.Now()
	if _, err := e.call(ctx, nil, probeArgs(name)...); err != nil {
		return "", err
	}
	took := time.Since(start)
	seen, err := f.watch(ctx, e, name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("started a privileged container in %.1f s; it %s", took.Seconds(), seen), nil
}

// watch looks from outside whether the kernel follows what the engine was told.
func (f finder) watch(ctx context.Context, e *Engine, name string) (seen string, err error) {
	id, pid, err := e.inspect(ctx, name)
	if err != nil {
		return "", err
	}
	check := func(limit mem.Bytes) error {
		o, err := f.observe(id, pid)
		if err != nil {
			return fmt.Errorf("look at container from outside: %w", err)
		}
		seen = fmt.Sprintf("has %s, and its limit followed from %s to %s in cgroup v%d",
			o.capabilities.Summary(), probeLimit, probeUpdate, o.version)
		return o.check(limit)
	}
	if err := check(probeLimit); err != nil {
		return "", err
	}
	if err := e.UpdateMemory(ctx, name, probeUpdate, 0); err != nil {
		return "", err
	}
	return seen, check(probeUpdate)
}

func probeArgs(name string) []string {
	return []string{
		"run", "--detach", "--rm", "--pull=never", "--name", name, "--label", Label + "=probe",
		"--privileged", "--cgroupns=private", "--tmpfs", "/tmp", "--tmpfs", "/run",
		"--volume", "/lib/modules:/lib/modules:ro", "--publish", "127.0.0.1::6443/tcp",
		"--memory", bytesArg(probeLimit), "--memory-swap", bytesArg(probeLimit),
		probeImage, probeProgram,
	}
}

// check says what is missing from a privileged container limited to want.
func (o observation) check(want mem.Bytes) error {
	var errs []error
	if o.limit != mem.LimitOf(want) {
		errs = append(errs, fmt.Errorf("its memory limit is %s in the kernel, not %s", o.limit, want))
	}
	// With swap beside the limit a node would not run out where it should: v2
	// limits swap alone, v1 memory and swap together.
	noSwap := mem.LimitOf(0)
	if o.version == 1 {
		noSwap = mem.LimitOf(want)
	}
	if !o.swap.IsAbsent() && o.swap != noSwap {
		errs = append(errs, fmt.Errorf("its swap limit is %s in the kernel, not %s", o.swap, noSwap))
	}
	if !o.capabilities.Has("CAP_SYS_ADMIN") {
		errs = append(errs, fmt.Errorf("it is not privileged: it has %s", o.capabilities.Summary()))
	}
	return errors.Join(errs...)
}
