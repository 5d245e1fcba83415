package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
)

func TestVMUsage(t *testing.T) {
	t.Setenv(cache.Env, t.TempDir())
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--cgroup=3"}, "--cgroup 3: want 1 or 2"},
		{[]string{"--seed=-2"}, "--seed -2: want 0 or more"},
		{[]string{"--kernel=./no-such-file"}, "no such file"},
		{[]string{"--kernel=../cli"}, "want the file of a kernel"},
		{[]string{"--kubernetes=two"}, "--kubernetes"},
	} {
		var out bytes.Buffer
		args := append([]string{"run", "qos-order", "--lab=vm"}, tt.args...)
		if code := Main(args, &out, &out); code != exitUsage || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%v: exit code %d, %q", tt.args, code, out.String())
		}
	}
}

// A story of one lab is not run in another one, nor counted as unsupported.
func TestScenarioKeepsToItsLab(t *testing.T) {
	var out bytes.Buffer
	if code := Main([]string{"run", "qos-order-machine", "--lab=cgroup"}, &out, &out); code != exitUsage || !strings.Contains(out.String(), "lab:vm") {
		t.Errorf("exit code %d, %q", code, out.String())
	}
}

// Without QEMU, and where nothing may be installed, the error names the command.
func TestVMWithoutQEMU(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"dpkg-query", "apt-get"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv(apt.NoInstallEnv, "1")
	var out bytes.Buffer
	code := Main([]string{"run", "qos-order", "--lab=vm", "--kernel=./vm_test.go"}, &out, &out)
	if want := "run: apt-get install --no-install-recommends qemu-system-x86"; code != exitUnfinished || !strings.Contains(out.String(), want) {
		t.Errorf("exit code %d, %q", code, out.String())
	}
}
