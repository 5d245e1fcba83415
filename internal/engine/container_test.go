package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
)

func TestCutCgroup(t *testing.T) {
	const id = "26c95d17ebce"
	for path, want := range map[string]string{
		"/libpod_parent/libpod-26c95d17ebce":                        "/libpod_parent/libpod-26c95d17ebce",
		"/libpod_parent/libpod-26c95d17ebce/init.scope":             "/libpod_parent/libpod-26c95d17ebce",
		"/machine.slice/libpod-26c95d17ebce.scope/container":        "/machine.slice/libpod-26c95d17ebce.scope",
		"/docker/26c95d17ebce/init.scope":                           "/docker/26c95d17ebce",
		"/system.slice/docker-26c95d17ebce.scope/kubelet.slice/a/b": "/system.slice/docker-26c95d17ebce.scope",
		"/": "", "/user.slice": "",
	} {
		if got, ok := cutCgroup(path, id); got != want || ok != (want != "") {
			t.Errorf("cutCgroup(%q) = %q, %v; want %q", path, got, ok, want)
		}
	}
}

func TestParseContainers(t *testing.T) {
	got, err := parseContainers("1a\toomlab-control-plane\n2b\toomlab-worker\n")
	want := []Container{{"1a", "oomlab-control-plane"}, {"2b", "oomlab-worker"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, (-want +got):\n%s", err, diff)
	}
	if got, err := parseContainers(""); got != nil || err != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
	if _, err := parseContainers("Emulate Docker CLI using podman.\n"); err == nil {
		t.Error("no error for a line without a tab")
	}
}

func FuzzParseContainers(f *testing.F) {
	f.Add("1a\tone\n2b\ttwo\n")
	f.Add("\t\n")
	f.Fuzz(func(t *testing.T, out string) {
		containers, err := parseContainers(out)
		if lines := strings.Count(out, "\n"); err == nil && len(containers) < lines {
			t.Errorf("%d containers of %d lines in %q", len(containers), lines, out)
		}
	})
}

// answering returns an engine whose every command prints out, and what it ran.
func answering(name, out string) (*Engine, *[][]string) {
	var ran [][]string
	return &Engine{Name: name, run: func(_ context.Context, i invocation) (string, error) {
		ran = append(ran, i.argv)
		return out, nil
	}}, &ran
}

func TestInitPID(t *testing.T) {
	for out, want := range map[string]int{"1a 4242\n": 4242, "1a 0\n": 0, "\n": 0, "1a -1\n": 0} {
		e, _ := answering("docker", out)
		if got, err := e.InitPID(t.Context(), "node"); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: InitPID = %d, %v; want %d", out, got, err, want)
		}
	}
}

func TestCommandLines(t *testing.T) {
	podman, ran := answering("podman", "")
	if err := podman.UpdateMemory(t.Context(), "n", 2*mem.GiB, mem.GiB); err != nil {
		t.Fatal(err)
	}
	if err := podman.Remove(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if err := podman.Remove(t.Context()); err != nil { // nothing to remove, nothing to run
		t.Fatal(err)
	}
	want := [][]string{
		{"podman", "update", "--memory", "2147483648", "--memory-swap", "3221225472", "n"},
		{"podman", "rm", "--force", "--volumes", "--time", "0", "a", "b"},
	}
	if diff := cmp.Diff(want, *ran); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}
