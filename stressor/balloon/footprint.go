package balloon

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Code is the part of the address space that mirrors the program's own file.
type Code []addresses

type addresses struct{ start, end uintptr }

// FindCode reads where the program's code and constants are mapped.
func FindCode() (Code, error) {
	var buf [1024]byte // on the stack: reading whole files would cost the heap more than Drop saves
	header, err := head("/proc/self/exe", buf[:18])
	if err != nil {
		return nil, err
	}
	if header[16] != 2 { // e_type is not ET_EXEC: read-only pages may hold relocations that the file has not
		return nil, nil
	}
	maps, err := head("/proc/self/maps", buf[:])
	if err != nil {
		return nil, err
	}
	// The program's own mappings come first:
	// 00400000-004da000 r-xp 00000000 fe:00 123 /oomlab-stressor
	var code Code
	for range 2 {
		var line []byte
		line, maps, _ = bytes.Cut(maps, []byte("\n"))
		between, rest, _ := bytes.Cut(line, []byte(" "))
		from, to, _ := bytes.Cut(between, []byte("-"))
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 != nil || err2 != nil || start >= end {
			return nil, fmt.Errorf("find code: /proc/self/maps begins with %q", line)
		}
		if bytes.HasPrefix(rest, []byte("r-xp ")) || bytes.HasPrefix(rest, []byte("r--p ")) {
			code = append(code, addresses{uintptr(start), uintptr(end)})
		}
	}
	return code, nil
}

// Drop gives back the resident pages of c, so that code which is not running
// does not count as the balloon's memory. What is used again comes back from
// the page cache. Where the kernel refuses, nothing is lost but the saving.
func (c Code) Drop() {
	for _, a := range c {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, a.start, a.end-a.start, unix.MADV_DONTNEED)
	}
}

// head reads the beginning of a file into buf.
func head(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }() // only read
	n, err := unix.Read(fd, buf)
	if err != nil || n < len(buf) && n < 256 {
		return nil, fmt.Errorf("read %s: %d bytes, %w", path, n, err)
	}
	return buf[:n], nil
}
