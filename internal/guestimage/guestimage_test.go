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
