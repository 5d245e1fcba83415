package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
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

// observe looks at a container's first process from outside. It finds nothing,
// or something else, where the engine runs its containers on another machine.
func observe(pid int) (observation, error) {
	var o observation
	h, err := evidence.FindHierarchy()
	if err != nil {
		return o, err
	}
	o.version = h.Version
	cgroup, err := h.Of(pid)
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
// published port and every privilege, changes its memory limit, and looks from
// outside whether the kernel knows of both. It returns what it saw.
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
	if _, err := e.call(ctx, bytes.NewReader(root), "import", "-", probeImage); err != nil {
		return "", err
	}
	start := time.Now()
	if _, err := e.call(ctx, nil, probeArgs(name)...); err != nil {
		return "", err
	}
	took := time.Since(start)
	pid, err := e.InitPID(ctx, name)
	if err != nil {
		return "", err
	}
	for i, limit := range []mem.Bytes{probeLimit, probeUpdate} {
		if i > 0 {
			if err := e.UpdateMemory(ctx, name, limit); err != nil {
				return "", err
			}
		}
		o, err := f.observe(pid)
		if err != nil {
			return "", fmt.Errorf("look at container from outside: %w", err)
		}
		if err := o.check(limit); err != nil {
			return "", err
		}
		proof = fmt.Sprintf("privileged container started in %.1f s and its limit changed from %s to %s, as seen in cgroup v%d; it has %s",
			took.Seconds(), probeLimit, probeUpdate, o.version, o.capabilities.Summary())
	}
	return proof, nil
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
		errs = append(errs, fmt.Errorf("it is not privileged: it has %s", strings.TrimSpace(o.capabilities.Summary())))
	}
	return errors.Join(errs...)
}
