package vmlab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/lab"
)

// Only a guest that boots proves KVM, and the answer holds until this machine
// boots again.
func TestProve(t *testing.T) {
	const yes = `printf '{"done":true}\n' >&5`
	for name, tt := range map[string]struct {
		device string
		script string
		want   Accelerator
		text   string
		boots  int
	}{
		"boots":     {"kvm", yes, KVM, "a guest booted with KVM", 1},
		"aborts":    {"kvm", "echo 'failed to set MSR 0x10a' >&2; exit 134", TCG, "failed to set MSR 0x10a", 1},
		"says no":   {"kvm", "true", TCG, "restarted or was powered off", 1},
		"no device": {"absent", yes, TCG, "no such file", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			boots := filepath.Join(dir, "boots")
			fakeQEMU(t, `test "$1" = --version && { echo QEMU emulator version 9.9; exit; }
				echo >>`+boots+`
				`+tt.script)
			t.Setenv(cache.Env, dir)
			for _, env := range []string{lab.GuestEnv, lab.StressorEnv} {
				t.Setenv(env, os.Args[0])
			}
			if err := os.WriteFile(filepath.Join(dir, "kvm"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			defer func(device string) { kvmDevice = device }(kvmDevice)
			kvmDevice = filepath.Join(dir, tt.device)
			for range 2 {
				proof, err := Prove(t.Context(), "vmlinuz")
				if err != nil || proof.Accelerator != tt.want || !strings.Contains(proof.Text, tt.text) {
					t.Errorf("%+v, %v", proof, err)
				}
			}
			if made, _ := os.ReadFile(boots); len(made) != tt.boots {
				t.Errorf("%d boots, want %d", len(made), tt.boots)
			}
		})
	}
}
