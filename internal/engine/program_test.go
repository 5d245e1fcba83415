package engine

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestSleeperSleepsAndExits(t *testing.T) {
	const d = 200 * time.Millisecond
	program, err := sleeper(runtime.GOARCH, d)
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "sleeper")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := exec.CommandContext(t.Context(), path).Run(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < d {
		t.Errorf("exited after %v, want at least %v", took, d)
	}
}

func TestSleeperIsStaticELF(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		program, err := sleeper(arch, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if f.Machine != machine || len(f.Progs) != 1 || f.Progs[0].Filesz != uint64(len(program)) {
			t.Errorf("%s: machine %v, segments %v for %d bytes", arch, f.Machine, f.Progs, len(program))
		}
	}
	if _, err := sleeper("mips", time.Second); !errors.Is(err, errNoProgram) {
		t.Errorf("mips: error %v, want errNoProgram", err)
	}
}

func TestProbeRootFSHoldsOneExecutable(t *testing.T) {
	root, err := probeRootFS()
	if err != nil {
		t.Skip(err)
	}
	h, err := tar.NewReader(bytes.NewReader(root)).Next()
	if err != nil || "/"+h.Name != probeProgram || h.Mode != 0o755 {
		t.Errorf("first entry %+v, %v; want an executable %s", h, err, probeProgram)
	}
}
