package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
)

// Label is on every container that oomlab itself starts; its value says what
// for. Those that kind starts have kind's labels.
const Label = "dev.oomlab"

// Container is a container as the engine lists it.
type Container struct {
	ID   string // in full
	Name string
}

// call runs the engine's program and returns its standard output.
func (e *Engine) call(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	return e.run(ctx, invocation{argv: append([]string{e.Name}, args...), env: e.env, stdin: stdin})
}

// finishTimeout bounds a call that is not interrupted.
const finishTimeout = 10 * time.Minute

// finish is call for what writes images. It is not interrupted but waited for:
// podman, terminated while it stores one, can leave an image without manifest,
// and then fails to list any.
func (e *Engine) finish(ctx context.Context, stdin io.Reader, args ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	_, err := e.call(whole, stdin, args...)
	return err
}

// HasImage reports whether the engine has an image of this name.
func (e *Engine) HasImage(ctx context.Context, ref string) (bool, error) {
	if e.Name == "docker" { // it has no "image exists"
		out, err := e.call(ctx, nil, "images", "--quiet", ref)
		return strings.TrimSpace(out) != "", err
	}
	_, err := e.call(ctx, nil, "image", "exists", ref)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// Load loads the images of an archive that docker save or podman save could
// have written.
func (e *Engine) Load(ctx context.Context, path string) error {
	return e.finish(ctx, nil, "load", "--quiet", "--input", path)
}

// Pull fetches an image from its registry.
func (e *Engine) Pull(ctx context.Context, ref string) error {
	_, err := e.call(ctx, nil, "pull", "--quiet", ref)
	return err
}

// RemoveImage removes an image if the engine has it.
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	if has, err := e.HasImage(ctx, ref); !has || err != nil {
		return err
	}
	return e.finish(ctx, nil, "rmi", ref)
}

// UpdateMemory limits what a running container has in memory to size, and what
// it has in swap.
func (e *Engine) UpdateMemory(ctx context.Context, container string, size, swap mem.Bytes) error {
	_, err := e.call(ctx, nil, "update", "--memory", bytesArg(size), "--memory-swap", bytesArg(size+swap), container)
	return err
}

func bytesArg(b mem.Bytes) string { return strconv.FormatInt(int64(b), 10) }

// InitPID returns the first process of a running container, as the host numbers
// it.
func (e *Engine) InitPID(ctx context.Context, container string) (int, error) {
	_, pid, err := e.inspect(ctx, container)
	return pid, err
}

// Cgroup returns the memory cgroup of a running container, as the host's kernel
// names it in its log: the one that carries the limit, with everything in the
// container in it or below it.
func (e *Engine) Cgroup(ctx context.Context, container string) (string, error) {
	id, pid, err := e.inspect(ctx, container)
	if err != nil {
		return "", err
	}
	h, err := evidence.FindHierarchy()
	if err != nil {
		return "", err
	}
	return cgroupOf(h, id, pid)
}

func (e *Engine) inspect(ctx context.Context, container string) (id string, pid int, err error) {
	out, err := e.call(ctx, nil, "container", "inspect", "--format", "{{.Id}} {{.State.Pid}}", container)
	if err != nil {
		return "", 0, err
	}
	if _, err := fmt.Sscanf(out, "%s %d", &id, &pid); err != nil || pid <= 0 {
		return "", 0, fmt.Errorf("inspect container %s: want an id and the pid of a running process, got %q", container, strings.TrimSpace(out))
	}
	return id, pid, nil
}

func cgroupOf(h evidence.Hierarchy, id string, pid int) (string, error) {
	path, err := h.Of(pid)
	if err != nil {
		return "", fmt.Errorf("find cgroup of container %s: %w", id, err)
	}
	if path, ok := cutCgroup(path, id); ok {
		return path, nil
	}
	return "", fmt.Errorf("find cgroup of container %s: its process %d is in %s: does the engine run on this machine?", id, pid, path)
}

// cutCgroup cuts the path of a container's first process down to the container's
// own cgroup, whose name holds its id. The process may be deeper: systemd puts
// itself in init.scope, and crun puts a container in "container".
func cutCgroup(path, id string) (string, bool) {
	before, after, ok := strings.Cut(path, id)
	if !ok {
		return "", false
	}
	rest, _, _ := strings.Cut(after, "/")
	return before + id + rest, true
}

// Exec runs a command in a running container, as root with all the container's
// privileges, and returns its standard output.
func (e *Engine) Exec(ctx context.Context, container string, argv ...string) (string, error) {
	return e.call(ctx, nil, append([]string{"exec", "--privileged", container}, argv...)...)
}

// Containers lists the containers, running or not, that have a label: "key" or
// "key=value".
func (e *Engine) Containers(ctx context.Context, label string) ([]Container, error) {
	out, err := e.call(ctx, nil, "ps", "--all", "--no-trunc", "--filter", "label="+label,
		"--format", "{{.ID}}\t{{.Names}}")
	if err != nil {
		return nil, err
	}
	return parseContainers(out)
}

func parseContainers(out string) ([]Container, error) {
	var containers []Container
	for line := range strings.Lines(out) {
		id, name, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			return nil, fmt.Errorf("list containers: line %q: want an id and a name", line)
		}
		containers = append(containers, Container{ID: id, Name: name})
	}
	return containers, nil
}

// Remove kills and removes containers with their anonymous volumes. One that is
// absent is no error.
func (e *Engine) Remove(ctx context.Context, containers ...string) error {
	if len(containers) == 0 {
		return nil
	}
	args := []string{"rm", "--force", "--volumes"}
	if e.Name == "podman" {
		args = append(args, "--time", "0") // it would give them ten seconds
	}
	_, err := e.call(ctx, nil, append(args, containers...)...)
	return err
}
