// Package engine finds a container engine that can run kind's nodes, and
// proves it by running a privileged container: an engine that merely answers
// may still fail to start one. Where none is usable on Debian or Ubuntu it
// installs podman.
//
// Whatever podman needs on a restricted machine is found by trying and kept in
// oomlab's cache; the machine's own configuration is not edited.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
)

// Env names the variable that forces an engine: docker or podman.
const Env = "OOMLAB_ENGINE"

// ErrNone is wrapped by Find where no engine is usable.
var ErrNone = errors.New("no usable container engine")

// Engine is a container engine that has been seen to work.
type Engine struct {
	Name    string `json:"name"`    // docker or podman
	Version string `json:"version"` // as the engine says it
	Proof   string `json:"proof"`   // what was started, and what was seen

	env []string
	run runner
}

// Env returns what the environment of this engine's commands has beyond our
// own, as NAME=value. Set it before using kind's library, which calls the
// engine itself.
func (e *Engine) Env() []string { return slices.Clone(e.env) }

// Options say how to look for an engine.
type Options struct {
	// Out is told what is installed and tried. Nil is silent.
	Out io.Writer
	// NoInstall keeps Find from installing podman, as apt.NoInstallEnv does.
	NoInstall bool
}

// Find returns a proven engine: docker if it works, else podman, unless
// OOMLAB_ENGINE names one. The proof takes seconds and is remembered until the
// engine's version, its limits or the boot changes. The error wraps ErrNone
// and says for each engine why it is not usable.
func Find(ctx context.Context, o Options) (*Engine, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	dir, err := cache.Dir("engine")
	if err != nil {
		return nil, err
	}
	unlock, err := cache.Lock(ctx, o.Out, "engine")
	if err != nil {
		return nil, err
	}
	defer unlock()
	limits, err := hardLimits()
	if err != nil {
		return nil, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("find container engine: %w: engines on this machine need Linux", err)
	}
	f := finder{
		out: o.Out, dir: dir, limits: limits, boot: strings.TrimSpace(string(boot)),
		run: command, observe: observe,
		look:    func(name string) bool { _, err := exec.LookPath(name); return err == nil },
		install: func(ctx context.Context, packages ...string) error { return apt.Ensure(ctx, o.Out, packages...) },
	}
	if o.NoInstall {
		f.install = apt.Check
	}
	return f.find(ctx, os.Getenv(Env))
}

// finder is what Find works with; tests replace its functions.
type finder struct {
	out     io.Writer
	dir     string // where settings and the remembered proof are kept
	boot    string // the boot's id
	limits  limits
	run     runner
	look    func(program string) bool
	install func(ctx context.Context, packages ...string) error
	observe func(id string, pid int) (observation, error)
}

// podmanPackages is all that podman needs to run kind's nodes: it merely
// recommends what gives a network addresses, names and published ports.
var podmanPackages = []string{"podman", "netavark", "aardvark-dns", "iptables"}

func (f finder) find(ctx context.Context, forced string) (*Engine, error) {
	engines := []string{"docker", "podman"}
	switch forced {
	case "":
	case "docker", "podman":
		engines = []string{forced}
	case "nerdctl":
		return nil, fmt.Errorf("%s=nerdctl is untested: use docker or podman", Env)
	default:
		return nil, fmt.Errorf("%s=%s: want docker or podman", Env, forced)
	}
	for _, name := range engines {
		if e, ok := f.recall(ctx, name); ok {
			return e, nil
		}
	}
	var reasons []error
	for _, name := range engines {
		e, err := f.try(ctx, name)
		if err != nil && name == "podman" && ctx.Err() == nil {
			// It is absent, or lacks one of the packages that it recommends.
			if installErr := f.install(ctx, podmanPackages...); installErr != nil {
				err = errors.Join(err, installErr)
			} else {
				e, err = f.try(ctx, name)
			}
		}
		if err == nil {
			return e, nil
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", name, err))
	}
	return nil, fmt.Errorf("%w:\n%w", ErrNone, errors.Join(reasons...))
}

// try proves the named engine with the first settings that work.
func (f finder) try(ctx context.Context, name string) (*Engine, error) {
	version, err := f.version(ctx, name)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, s := range settingsFor(name, f.limits) {
		e, err := f.tryWith(ctx, Engine{Name: name, Version: version, run: f.run}, s)
		if err == nil {
			return e, f.remember(e, s)
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.Name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (f finder) tryWith(ctx context.Context, e Engine, s settings) (*Engine, error) {
	if s.Runtime != "" && !f.look(s.Runtime) {
		if err := f.install(ctx, s.Runtime); err != nil {
			return nil, err
		}
	}
	_, _ = fmt.Fprintf(f.out, "trying %s %s %s\n", e.Name, e.Version, s.Name)
	var err error
	if e.env, err = f.apply(s); err != nil {
		return nil, err
	}
	if e.Proof, err = f.prove(ctx, &e); err != nil {
		return nil, err
	}
	e.Proof += "; " + s.Name
	return &e, nil
}

// version asks docker's daemon, which may not run, and podman's program.
func (f finder) version(ctx context.Context, name string) (string, error) {
	if !f.look(name) {
		return "", errors.New("not installed")
	}
	format := "{{.Client.Version}}"
	if name == "docker" {
		format = "{{.Server.Version}}"
	}
	out, err := f.run(ctx, invocation{argv: []string{name, "version", "--format", format}})
	if err != nil {
		return "", fmt.Errorf("does not answer: %w", err)
	}
	return strings.TrimSpace(out), nil
}
