package oomlab

import (
	"errors"
	"go/build"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/oomlab/oomlab/"

// pure packages compute and know nothing of the world: what they say can be
// tested, fuzzed and trusted anywhere.
var pure = []string{
	"internal/mem",
	"internal/qos",
	"internal/oom",
	"internal/eviction",
	"internal/oomreport",
	"internal/explain",
	"internal/reproduce",
	"internal/whatif",
	"internal/record",
	"internal/reconcile",
	"internal/verdict",
	"internal/forecast",
	"internal/compare",
	"internal/termination",
	"scenarios",
	"stressor/balloon/plan",
}

func TestPurePackagesImportNothingOfTheWorld(t *testing.T) {
	world := []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "runtime", "unsafe", "plugin"}
	// What a pure package may use beyond the standard library.
	allowed := []string{"go.yaml.in/yaml/v3", "sigs.k8s.io/json"}
	for _, dir := range pure {
		for _, path := range importsOf(t, dir) {
			switch {
			case slices.Contains(world, path):
				t.Errorf("%s is pure and imports %s", dir, path)
			case strings.HasPrefix(path, module) && !slices.Contains(pure, strings.TrimPrefix(path, module)):
				t.Errorf("%s is pure and imports %s, which is not", dir, path)
			case strings.Contains(path, ".") && !strings.HasPrefix(path, module) && !slices.Contains(allowed, path):
				t.Errorf("%s is pure and imports %s", dir, path)
			}
		}
	}
}

func TestLabsDoNotKnowEachOther(t *testing.T) {
	labs, err := filepath.Glob("internal/lab/*lab")
	if err != nil || len(labs) < 2 {
		t.Fatalf("labs: %v, %v", labs, err)
	}
	for _, dir := range labs {
		for _, path := range importsOf(t, dir) {
			if other := strings.TrimPrefix(path, module); other != dir && slices.Contains(labs, other) {
				t.Errorf("%s imports %s", dir, other)
			}
		}
	}
}

// The guest is copied into every virtual machine, and has to be there before
// anything else is.
func TestTheGuestIsSmall(t *testing.T) {
	seen := map[string]bool{}
	var walk func(dir string)
	walk = func(dir string) {
		for _, path := range importsOf(t, dir) {
			own, inModule := strings.CutPrefix(path, module)
			switch {
			case seen[path]:
			case inModule:
				seen[path] = true
				walk(own)
			case strings.HasPrefix(path, "k8s.io/") || strings.HasPrefix(path, "sigs.k8s.io/kind") || strings.HasPrefix(path, "github.com/spf13/"):
				t.Errorf("%s imports %s, and the guest with it", dir, path)
			}
		}
	}
	walk("cmd/oomlab-guest")
	if !seen[module+"internal/run"] {
		t.Error("the guest has no engine")
	}
}

func TestGinkgoStaysInE2E(t *testing.T) {
	for _, pattern := range []string{"internal/*", "internal/lab/*", "cmd/*", "stressor", "stressor/balloon", "scenarios"} {
		dirs, err := filepath.Glob(pattern)
		if err != nil || len(dirs) == 0 {
			t.Fatalf("%s: %v, %v", pattern, dirs, err)
		}
		for _, dir := range dirs {
			for _, path := range importsOf(t, dir) {
				if strings.HasPrefix(path, "github.com/onsi/") {
					t.Errorf("%s imports %s", dir, path)
				}
			}
		}
	}
}

// importsOf returns what the Go files of a directory import, without tests.
func importsOf(t *testing.T, dir string) []string {
	t.Helper()
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	p, err := build.ImportDir(dir, 0)
	if empty := new(build.NoGoError); errors.As(err, &empty) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	return p.Imports
}
