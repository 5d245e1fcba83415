package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
)

// TestFindOnThisMachine runs the real probe where an engine is usable, without
// installing one, and a container through the engine that it found.
func TestFindOnThisMachine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to start containers")
	}
	t.Setenv("OOMLAB_CACHE", t.TempDir())
	e, err := Find(t.Context(), Options{Out: t.Output(), NoInstall: true})
	if errors.Is(err, ErrNone) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %s: %s", e.Name, e.Version, e.Proof)

	start := time.Now()
	again, err := Find(t.Context(), Options{NoInstall: true})
	if err != nil || again.Proof != e.Proof {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the second time took %v", took)
	}
	testContainer(t, e)
}

func testContainer(t *testing.T, e *Engine) {
	const name, image = "oomlab-engine-test", "localhost/oomlab/engine-test:latest"
	ctx := t.Context()
	root, err := probeRootFS()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.finish(ctx, bytes.NewReader(root), "import", "-", image); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx) // a test's context ends before its clean-up
		if err := errors.Join(e.Remove(ctx, name), e.RemoveImage(ctx, image)); err != nil {
			t.Error(err)
		}
	})
	if has, err := e.HasImage(ctx, image); err != nil || !has {
		t.Fatalf("HasImage = %v, %v", has, err)
	}
	if has, err := e.HasImage(ctx, "localhost/oomlab/absent:latest"); err != nil || has {
		t.Errorf("HasImage of an absent image = %v, %v", has, err)
	}
	if _, err := e.call(ctx, nil, "run", "--detach", "--name", name, "--label", Label+"=test", image, probeProgram); err != nil {
		t.Fatal(err)
	}
	containers, err := e.Containers(ctx, Label+"=test")
	if err != nil || len(containers) != 1 || containers[0].Name != name {
		t.Errorf("Containers = %v, %v", containers, err)
	}
	if err := e.UpdateMemory(ctx, name, 100*mem.MiB, 0); err != nil {
		t.Fatal(err)
	}
	cgroup, err := e.Cgroup(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	h, err := evidence.FindHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	if l, err := h.Limit(cgroup); err != nil || l != mem.LimitOf(100*mem.MiB) {
		t.Errorf("limit of %s = %v, %v; want 100Mi", cgroup, l, err)
	}
	var failed *CommandError
	if _, err := e.Exec(ctx, name, "/absent"); !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "/absent") {
		t.Errorf("Exec of an absent program: %v", err)
	}
}

func TestCommandReportsFailure(t *testing.T) {
	_, err := command(t.Context(), invocation{argv: []string{"sh", "-c", "echo $A >&2; exit 3"}, env: []string{"A=b"}})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.HasSuffix(err.Error(), "exit status 3: b") {
		t.Errorf("error %v", err)
	}
}
