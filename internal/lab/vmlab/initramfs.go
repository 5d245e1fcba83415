package vmlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
)

// file is one file of an initramfs.
type file struct {
	name string // from the root, without a leading slash
	mode uint32 // permission bits
	data []byte
}

// program is a program of oomlab's beside the init, by its name in the initramfs.
type program struct {
	name string
	find func(context.Context) (path string, err error)
}

var (
	stressor = program{"oomlab-stressor", lab.Stressor}
	node     = program{wire.NodeProgram, lab.Node}
)

// startFiles returns what a machine starts with: the init, programs, kernel
// modules, and the job, which is told of these.
func startFiles(ctx context.Context, job wire.Job, modules []string, programs ...program) ([]file, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("the vm lab boots x86-64 kernels with programs built for this machine, which is %s", runtime.GOARCH)
	}
	var files []file
	add := func(name, path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the guest's %s: %w", name, err)
		}
		files = append(files, file{name: name, mode: 0o755, data: data})
		return nil
	}
	for _, p := range append([]program{{"init", lab.Guest}}, programs...) {
		path, err := p.find(ctx)
		if err != nil {
			return nil, err
		}
		if err := add(p.name, path); err != nil {
			return nil, err
		}
	}
	for _, path := range modules {
		name := filepath.Base(path)
		if err := add(name, path); err != nil {
			return nil, err
		}
		job.Modules = append(job.Modules, "/"+name)
	}
	data, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("write the machine's job: %w", err)
	}
	return append(files, file{name: wire.JobFile[1:], mode: 0o644, data: data}), nil
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
