package balloon

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// DropCode gives back the resident pages of the program's own file, so that
// the code that only starting up needs does not count as the balloon's memory.
// What is used again comes back from the page cache.
func DropCode() error {
	var buf [1024]byte // on the stack: reading whole files would cost the heap more than this saves
	header, err := head("/proc/self/exe", buf[:18])
	if err != nil {
		return err
	}
	if header[16] != 2 { // e_type is not ET_EXEC: read-only pages may hold relocations that the file has not
		return nil
	}
	maps, err := head("/proc/self/maps", buf[:])
	if err != nil {
		return err
	}
	// The program's own mappings come first:
	// 00400000-004da000 r-xp 00000000 fe:00 123 /oomlab-stressor
	for range 2 {
		var line []byte
		line, maps, _ = bytes.Cut(maps, []byte("\n"))
		addresses, rest, _ := bytes.Cut(line, []byte(" "))
		if !bytes.HasPrefix(rest, []byte("r-")) || bytes.HasSuffix(line, []byte(" 0 ")) {
			continue
		}
		from, to, _ := bytes.Cut(addresses, []byte("-"))
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 != nil || err2 != nil || start >= end {
			return fmt.Errorf("drop code: /proc/self/maps begins with %q", line)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("drop code: %w", errno)
		}
	}
	return nil
}

// head reads the beginning of a file into buf.
func head(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil || n < len(buf) && n < 256 {
		return nil, fmt.Errorf("read %s: %d bytes, %w", path, n, err)
	}
	return buf[:n], nil
}
