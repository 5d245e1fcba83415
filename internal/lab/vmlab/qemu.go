package vmlab

import (
	"fmt"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// Program is QEMU's, and Package where Debian has it.
const (
	Program = "qemu-system-x86_64"
	Package = "qemu-system-x86"
)

// Accelerator is how a guest's instructions are executed.
type Accelerator string

// The accelerators. TCG translates every instruction and works everywhere.
const (
	KVM Accelerator = "kvm"
	TCG Accelerator = "tcg"
)

// machine is one virtual machine, as QEMU is told to make it.
type machine struct {
	kernel, initramfs string // files that QEMU reads
	console, messages string // files that the two serial ports write
	memory            mem.Bytes
	accelerator       Accelerator
	seed              *int // deterministic, where it is set
	processors        int  // 0 is 1
	slowdown          int  // how many seconds one of the guest takes; 0 is 1
	disks             []disk
	log               string // the file that is to have the kernel's log; "": none
}

// disk is a disk of a machine: a file with what is on it.
type disk struct {
	file string
	// written says that what the guest writes is to be in the file. Otherwise it
	// goes to a file without a name, and away with QEMU.
	written bool
}

func (d disk) arg() string {
	snapshot := "on"
	if d.written {
		snapshot = "off"
	}
	// A comma in a name is doubled. Nothing here has to outlive a power cut. By
	// default QEMU stops a guest where the host's disk is full, without a word.
	return fmt.Sprintf("file=%s,format=raw,if=virtio,cache=unsafe,werror=report,snapshot=%s", strings.ReplaceAll(d.file, ",", ",,"), snapshot)
}

// args returns QEMU's arguments. A machine for a scenario has one processor, no
// disk, no network and no device but the two serial ports: nothing that the
// host's timing could reach. Files, not pipes, take what the ports send, so that a slow reader
// never stops the guest.
func (m machine) args() []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-smp", fmt.Sprint(max(m.processors, 1)), "-m", fmt.Sprintf("%dM", m.memory/mem.MiB),
		"-kernel", m.kernel, "-initrd", m.initramfs, "-append", strings.Join(m.cmdline(), " "),
		"-chardev", "file,id=console,path=" + m.console, "-serial", "chardev:console",
		"-chardev", "file,id=messages,path=" + m.messages, "-serial", "chardev:messages",
	}
	for _, d := range m.disks {
		args = append(args, "-drive", d.arg())
	}
	switch {
	case m.accelerator == KVM:
		args = append(args, "-accel", "kvm", "-cpu", "host")
	case len(m.disks) > 0:
		// It has instructions for what Kubernetes encrypts, and no page tables of
		// five levels, which cost time. Without a source of randomness containerd
		// would wait for one.
		args = append(args, "-accel", "tcg,thread=multi", "-cpu", "Westmere,+rdrand")
	case m.seed == nil:
		// qemu64 touches pages faster than max: fewer features to emulate.
		args = append(args, "-accel", "tcg", "-cpu", "qemu64")
	default:
		args = append(args, "-accel", "tcg", "-cpu", "qemu64")
		args = append(args, deterministic(*m.seed)...)
	}
	return args
}

// shifts is how many speeds of the processor the seeds go through, from the
// fastest that -icount knows: an instruction takes 1 or 2 ns. Slower ones don't
// come to the end within the timeouts of a scenario.
const shifts = 2

// deterministic makes every clock of the guest count its instructions, and
// skips the time in which it halts, which it does until its init keeps it busy.
// The guest itself turns the rest of the seed into another schedule.
func deterministic(seed int) []string {
	return []string{
		"-icount", fmt.Sprintf("shift=%d,sleep=off", seed%shifts),
		"-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", fmt.Sprint(seed),
	}
}

// cmdline is the kernel's command line.
func (m machine) cmdline() []string {
	words := []string{
		"console=ttyS0", "quiet", "panic=-1", "rdinit=/init",
		// The kernel is at the same addresses in every run of a seed, and
		// nothing is gained from moving it.
		"nokaslr",
	}
	if len(m.disks) > 0 {
		// Nobody has anything to hide there, and each system call would else
		// throw away what has been translated of addresses. To start a container
		// is above all to wait for the end of others' RCU read sections. And QEMU
		// keeps what it has translated by virtual address: a program that is
		// somewhere else each time is translated each time. Nor has memory to be
		// cleared twice, or anything to be audited.
		words = append(words, "mitigations=off", "rcupdate.rcu_expedited=1", "norandmaps", "init_on_alloc=0", "audit=0")
	}
	if m.seed == nil {
		// The guest's clock is the host's. A kernel that compares it with another
		// one, as they do by default, gives it up where the host is busy; and
		// patches its own code to do so, which with two processors whose
		// instructions are translated was the end of a machine (int3 in
		// sched_clock_cpu).
		words = append(words, "tsc=reliable")
	} else {
		// QEMU sizes its TLB by the host's clock, and as long as a page is in
		// there, nobody marks it as accessed again after the kernel has cleared
		// the mark, which is what reclaim goes by. With page tables of its own
		// the kernel can't be left without emptying the TLB.
		words = append(words, "pti=on")
	}
	return words
}
