package vmlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/proc"
)

// Install makes sure that QEMU is there, and the program that each machine
// starts. It says so on out where it installs QEMU; its error names the command
// where it may not.
func Install(ctx context.Context, out io.Writer) error {
	if _, err := exec.LookPath(Program); err != nil {
		if err := apt.Ensure(ctx, out, Package); err != nil {
			return fmt.Errorf("the vm lab needs %s: %w", Program, err)
		}
	}
	_, err := lab.Guest(ctx)
	return err
}

// Version returns what QEMU says of itself, "7.2.22" with what Debian adds.
func Version(ctx context.Context) (string, error) {
	out, err := proc.Output(proc.Command(ctx, Program, "--version"))
	if err != nil {
		return "", fmt.Errorf("the vm lab needs %s (Debian's package is %s): %w", Program, Package, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "QEMU emulator version "), nil
}

// Proof is how a guest's instructions can be executed here, and how that was
// found.
type Proof struct {
	Accelerator Accelerator `json:"accelerator"`
	Text        string      `json:"text"`
	// Key is what must not have changed for it to hold.
	Key string `json:"key"`
}

var kvmDevice = "/dev/kvm" // tests have another

const (
	// kvmLimit is plenty for a kernel that really runs on the processor: it is
	// there within a second.
	kvmLimit    = 10 * time.Second
	probeMemory = 256 * mem.MiB
)

// Prove finds out whether a guest boots with KVM, by booting one: a device that
// can be opened proves nothing where this machine is itself a guest. The answer
// is kept until this machine boots again.
func Prove(ctx context.Context, kernel string) (Proof, error) {
	version, err := Version(ctx)
	if err != nil {
		return Proof{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Proof{}, fmt.Errorf("prove KVM: %w", err)
	}
	dir, err := cache.Dir("vm")
	if err != nil {
		return Proof{}, err
	}
	path, key := filepath.Join(dir, "accelerator.json"), version+" "+strings.TrimSpace(string(boot))
	if data, err := os.ReadFile(path); err == nil {
		var kept Proof
		// Anything wrong with what was kept only means that it is proved again.
		if json.Unmarshal(data, &kept) == nil && kept.Key == key {
			return kept, nil
		}
	}
	proof, err := prove(ctx, kernel)
	if err != nil {
		return proof, err
	}
	proof.Key = key
	data, err := json.Marshal(proof)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		return proof, fmt.Errorf("keep the proof of KVM: %w", err)
	}
	return proof, nil
}

func prove(ctx context.Context, kernel string) (Proof, error) {
	f, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		return Proof{Accelerator: TCG, Text: "instructions are translated: " + err.Error()}, nil
	}
	if err := f.Close(); err != nil {
		return Proof{}, fmt.Errorf("prove KVM: %w", err)
	}
	files, err := startFiles(ctx, wire.Job{}, nil, stressor)
	if err != nil {
		return Proof{}, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, kvmLimit, fmt.Errorf("no sign of life within %s", kvmLimit))
	defer cancel()
	began := time.Now()
	m := machine{kernel: kernel, memory: probeMemory, accelerator: KVM}
	_, err = m.boot(limited, files, func(wire.Message) {})
	switch {
	case err == nil:
		return Proof{Accelerator: KVM, Text: fmt.Sprintf("a guest booted with KVM in %.1f s", time.Since(began).Seconds())}, nil
	case errors.Is(err, ErrMachine) && ctx.Err() == nil:
		line, _, _ := strings.Cut(err.Error(), "\n")
		return Proof{Accelerator: TCG, Text: "instructions are translated: a guest does not boot with KVM: " + line}, nil
	}
	return Proof{}, fmt.Errorf("prove KVM: %w", err)
}
