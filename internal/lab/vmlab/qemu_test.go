package vmlab

import (
	"slices"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// TestArgs holds what must be true of every machine, and what a seed and KVM
// change.
func TestArgs(t *testing.T) {
	seed, other := 4, 5
	m := machine{
		kernel: "vmlinuz", initramfs: "i", console: "c", messages: "m",
		memory: 1792 * mem.MiB, accelerator: TCG,
	}
	seeded, otherwise, kvm, system := m, m, m, m
	system.processors, system.disks = 2, []disk{{file: "root,1"}, {file: "out", written: true}}
	seeded.seed, otherwise.seed, kvm.accelerator = &seed, &other, KVM
	for name, tt := range map[string]struct {
		machine machine
		want    []string // in a row
		without []string
	}{
		"bounded":       {m, []string{"-m 1792M", "-smp 1", "-no-reboot", "-nodefaults"}, []string{"-icount", "-drive", "-netdev", "-device", "mitigations", "pti"}},
		"emulated":      {m, []string{"-accel tcg -cpu qemu64"}, []string{"kvm"}},
		"host's clock":  {m, []string{"tsc=reliable"}, nil},
		"console first": {m, []string{"path=c -serial chardev:console -chardev file,id=messages,path=m -serial chardev:messages"}, nil},
		"ends on panic": {m, []string{"panic=-1"}, nil},
		"seeded":        {seeded, []string{"-icount shift=0,sleep=off", "clock=vm", "-seed 4", "-accel tcg", "pti=on"}, []string{"tsc="}},
		"other seed":    {otherwise, []string{"-icount shift=1,sleep=off", "-seed 5"}, nil},
		"with disks": {system, []string{
			"-smp 2", "-drive file=root,,1,format=raw,if=virtio,cache=unsafe,werror=report,snapshot=on -drive file=out,format=raw,if=virtio,cache=unsafe,werror=report,snapshot=off",
			"-accel tcg,thread=multi -cpu Westmere,+rdrand", "tsc=reliable", "mitigations=off rcupdate.rcu_expedited=1 norandmaps",
		}, []string{"max", "-icount"}},
		"kvm": {kvm, []string{"-accel kvm -cpu host"}, []string{"tcg", "-icount"}},
	} {
		args := strings.Join(tt.machine.args(), " ")
		for _, want := range tt.want {
			if !strings.Contains(args, want) {
				t.Errorf("%s: no %q in %s", name, want, args)
			}
		}
		for _, word := range tt.without {
			if slices.ContainsFunc(tt.machine.args(), func(arg string) bool { return strings.Contains(arg, word) }) {
				t.Errorf("%s: %q in %s", name, word, args)
			}
		}
	}
	if slices.Equal(seeded.args(), otherwise.args()) || !slices.Equal(seeded.args(), seeded.args()) {
		t.Error("a seed must decide the arguments, and nothing else may")
	}
}
