package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

const idleFile = "/idle"

// neverHalt starts a program that takes what nobody else wants of the
// processor. Where a processor that counts its instructions halts, QEMU skips to
// the next timer, in another thread than that of the processor: now and then
// from a count that has not been brought up to date yet, so that the guest is
// late ever after by what was missing. That depends on what the host does. A
// processor that never halts makes time of nothing but instructions.
func neverHalt() error {
	if err := os.WriteFile(idleFile, idleProgram(), 0o755); err != nil {
		return fmt.Errorf("keep the processor from halting: %w", err)
	}
	idle := exec.Command(idleFile) //nolint:noctx // it ends with the machine
	if err := idle.Start(); err != nil {
		return fmt.Errorf("keep the processor from halting: %w", err)
	}
	pid := idle.Process.Pid
	if err := unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0); err != nil {
		return fmt.Errorf("let everybody else have the processor first: %w", err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("-1000"), 0); err != nil {
		return fmt.Errorf("keep the processor from halting after a global OOM: %w", err)
	}
	return nil
}

// idlePage is the size of the program's only page, and idleStart its address.
const (
	idlePage  = 4096
	idleStart = 0x400000
)

// idleProgram returns an executable that runs round and round through one page
// of instructions that do nothing. QEMU translates hundreds of them into little
// more than their count, so that a second of waiting costs it milliseconds.
func idleProgram() []byte {
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, 1<<32-idlePage) // back by a page
	var b bytes.Buffer
	for _, header := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Entry: idleStart, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
			Off: idlePage, Vaddr: idleStart, Filesz: idlePage, Memsz: idlePage, Align: idlePage,
		},
	} {
		_ = binary.Write(&b, binary.LittleEndian, header) // a buffer takes everything
	}
	b.Write(make([]byte, idlePage-b.Len()))
	b.Write(bytes.Repeat([]byte{0x90}, idlePage-len(jump)))
	b.Write(jump)
	return b.Bytes()
}
