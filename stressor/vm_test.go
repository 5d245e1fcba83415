package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/kernelimage"
	"github.com/oomlab/oomlab/internal/lab/vmlab"
	engine "github.com/oomlab/oomlab/internal/run"
)

// The kinds are charged as they should be on cgroup v2, too, whatever this
// machine has: the same test runs in a virtual machine. No disk is there, and so
// no page that is dirty.
func TestKindsOnCgroup2(t *testing.T) {
	if _, err := exec.LookPath(vmlab.Program); err != nil {
		t.Skipf("needs QEMU: %v", err)
	}
	kernels, err := kernelimage.Cached()
	if err != nil {
		t.Fatal(err)
	}
	if len(kernels) == 0 {
		t.Skip("needs a kernel: oomlab kernel fetch 6.12")
	}
	kernel := kernels[len(kernels)-1]
	tests := filepath.Join(t.TempDir(), "stressor.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags=-s -w", "-o", tests, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests: %v\n%s", err, out)
	}
	passed := 0
	err = vmlab.RunTests(t.Context(), tests, []string{"-test.v", "-test.run", "^TestKindsAre|^TestHugeTLB$", "-test.skip", "/dirty"}, vmlab.Options{
		Kernel: kernel.File, KernelName: kernel.Package, CgroupVersion: 2, Accelerator: vmlab.TCG,
	}, func(line string) {
		name := strings.TrimSpace(line)
		if strings.HasPrefix(name, "--- PASS: TestKindsAre") && strings.Contains(name, "/") || strings.HasPrefix(name, "--- PASS: TestHugeTLB") {
			passed++
		} else {
			t.Log(line)
		}
	})
	if errors.Is(err, engine.ErrUnsafe) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if passed != 11 {
		t.Errorf("%d kinds passed, want 11", passed)
	}
}
