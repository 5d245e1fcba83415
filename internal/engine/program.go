package engine

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// probeProgram is the path of the only file in the probe's image.
const probeProgram = "/probe"

// probeLifetime is how long the probe's container lives by itself. It is
// removed long before; the limit is for the case that oomlab is killed.
const probeLifetime = 30 * time.Second

// errNoProgram says that the probe's container has no program to run.
var errNoProgram = errors.New("no probe program for this processor: amd64 and arm64 have one")

// instructions hold, per processor, nanosleep(&timespec, NULL) and then
// exit(0); a struct timespec follows them.
var instructions = map[string]struct {
	machine elf.Machine
	code    []byte
}{
	"amd64": {elf.EM_X86_64, []byte{
		0x48, 0x8d, 0x3d, 18, 0, 0, 0, // lea rdi, [rip+18]: the timespec
		0x31, 0xf6, // xor esi, esi
		0xb8, 35, 0, 0, 0, // mov eax, 35: nanosleep
		0x0f, 0x05, // syscall
		0x31, 0xff, // xor edi, edi
		0xb8, 60, 0, 0, 0, // mov eax, 60: exit
		0x0f, 0x05, // syscall
	}},
	"arm64": {elf.EM_AARCH64, []byte{
		0xe0, 0x00, 0x00, 0x10, // adr x0, +28: the timespec
		0x01, 0x00, 0x80, 0xd2, // mov x1, 0
		0xa8, 0x0c, 0x80, 0xd2, // mov x8, 101: nanosleep
		0x01, 0x00, 0x00, 0xd4, // svc 0
		0x00, 0x00, 0x80, 0xd2, // mov x0, 0
		0xa8, 0x0b, 0x80, 0xd2, // mov x8, 93: exit
		0x01, 0x00, 0x00, 0xd4, // svc 0
	}},
}

// sleeper returns a static ELF executable that sleeps for d and exits with 0.
//
// The probe needs an image on machines that can pull none, and should not need
// a Go toolchain or another package for it: a program that only has to exist
// for a moment is 161 bytes long.
func sleeper(arch string, d time.Duration) ([]byte, error) {
	cpu, ok := instructions[arch]
	if !ok {
		return nil, fmt.Errorf("%w, %s has not", errNoProgram, arch)
	}
	const headers = 64 + 56 // sizes of Header64 and Prog64
	const base = 0x400000   // where linkers put executables
	size := uint64(headers + len(cpu.code) + 16)
	file := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(cpu.machine), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	copy(file.Ident[:], elf.ELFMAG)
	file.Ident[elf.EI_CLASS], file.Ident[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	file.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)

	var b bytes.Buffer
	for _, part := range []any{
		file,
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
			Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000,
		},
		cpu.code,
		[2]int64{int64(d / time.Second), int64(d % time.Second)}, // struct timespec
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// probeRootFS returns the root file system of the probe's image as a tar
// archive, which both docker and podman import.
func probeRootFS() ([]byte, error) {
	program, err := sleeper(runtime.GOARCH, probeLifetime)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = w.WriteHeader(&tar.Header{Name: probeProgram[1:], Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(program)
	}
	return b.Bytes(), errors.Join(err, w.Close())
}
