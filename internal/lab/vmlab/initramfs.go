package vmlab

import (
	"bytes"
	"fmt"
	"io"
)

// file is one file of an initramfs.
type file struct {
	name string // from the root, without a leading slash
	mode uint32 // permission bits
	data []byte
}

// newc's magic number, and the name that ends an archive.
const (
	cpioMagic   = "070701"
	cpioTrailer = "TRAILER!!!"
	regularFile = 0o100000
)

// writeInitramfs writes an archive of the files in the only format that the
// kernel unpacks: cpio "newc" (Documentation/driver-api/early-userspace/
// buffer-format.rst). It is not compressed: for an emulated processor copying
// is much cheaper than unpacking.
func writeInitramfs(w io.Writer, files []file) error {
	var b bytes.Buffer
	for i, f := range append(files, file{name: cpioTrailer}) {
		mode := f.mode
		if f.name != cpioTrailer {
			mode |= regularFile
		}
		// magic ino mode uid gid nlink mtime filesize devmajor devminor
		// rdevmajor rdevminor namesize check
		fmt.Fprintf(&b, "%s%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
			cpioMagic, i+1, mode, 0, 0, 1, 0, len(f.data), 0, 0, 0, 0, len(f.name)+1, 0)
		b.WriteString(f.name)
		b.WriteByte(0)
		pad(&b)
		b.Write(f.data)
		pad(&b)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the initramfs: %w", err)
	}
	return nil
}

// pad fills up to a multiple of 4 bytes.
func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
