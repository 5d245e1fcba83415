package guestimage

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// In the guest kind calls a docker that returns from the start of a node only
// when the node is there, and is docker for everything else.
func TestANodeCountsAsStartedWhenItIsThere(t *testing.T) {
	dir := t.TempDir()
	containers := filepath.Join(dir, "containers")
	if err := os.MkdirAll(filepath.Join(containers, "abc"), 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(containers, "abc", "abc-json.log")
	// It writes what a node's systemd does, a second after the container runs.
	real := filepath.Join(dir, "docker")
	if err := os.WriteFile(real, []byte("#!/bin/sh\necho \"$@\" >> "+dir+"/called\n"+
		"[ \"$1\" = run ] || { echo plain; exit 7; }\n"+
		"(sleep 1; echo '[  OK  ] Reached target multi-user.target - Multi-User System.' > "+log+") > /dev/null 2>&1 &\necho abc\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("/usr/bin/docker", real, "/var/lib/docker/containers", containers).Replace(dockerScript)
	shim := func(args ...string) (string, error) {
		out, err := exec.Command("sh", append([]string{"-c", script, "docker"}, args...)...).Output()
		return string(out), err
	}
	out, err := shim("run", "--name", "n", "--label", "io.x-k8s.kind.cluster=c", "image")
	if err != nil || out != "abc\n" {
		t.Errorf("run of a node: %q, %v", out, err)
	}
	if _, err := os.Stat(log); err != nil {
		t.Error("it returned before the node was there:", err)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if out, err := shim("run", "--name", "probe", "image"); err != nil || out != "abc\n" {
		t.Errorf("run of something else: %q, %v", out, err)
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("it waited for what is no node")
	}
	if out, err := shim("version"); out != "plain\n" || err == nil || err.Error() != "exit status 7" {
		t.Errorf("another command: %q, %v", out, err)
	}
	called, err := os.ReadFile(filepath.Join(dir, "called"))
	if err != nil || strings.Count(string(called), "\n") != 3 {
		t.Errorf("docker was called with\n%s(%v)", called, err)
	}
}

func TestMakeDisk(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("no mkfs.ext4 here (e2fsprogs)")
	}
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "sub", "file"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "disk")
	if err := MakeDisk(t.Context(), file, tree, 64*mem.MiB); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("debugfs", "-R", "cat /sub/file", file).Output()
	if err != nil || string(out) != "content" {
		t.Errorf("on the disk is %q, %v", out, err)
	}
	if err := os.WriteFile(filepath.Join(tree, "large"), bytes.Repeat([]byte("x"), int(2*mem.MiB)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := MakeDisk(t.Context(), file, tree, mem.MiB); err == nil {
		t.Error("a tree was put on a disk that is too small")
	}
}

// The guest has the command line of docker, which its package only recommends,
// and nothing of this machine's names.
func TestMmdebstrapArgs(t *testing.T) {
	args := mmdebstrapArgs("/target")
	if !slices.Contains(args, "--include="+strings.Join(debianPackages, ",")) || !slices.Contains(debianPackages, "docker-cli") {
		t.Errorf("args %q", args)
	}
	if got := args[len(args)-3:]; !slices.Equal(got, []string{debianSuite, "/target", debianMirror}) {
		t.Errorf("they end with %q", got)
	}
	if !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "etc/resolv.conf") }) {
		t.Error("this machine's resolv.conf is left in the guest")
	}
}
