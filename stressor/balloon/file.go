package balloon

import (
	"fmt"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// file is memory that the kernel holds on behalf of a file. Unless it is kept,
// the file has no name any more, so that it is gone with the process.
type file struct {
	kind    plan.Kind
	fd      int
	level   mem.Bytes
	regions []unsafe.Pointer // plan.Mapped only: regionSize of the file each
}

const regionSize = mem.GiB

func newMemfd() (*file, error) {
	fd, err := unix.MemfdCreate("balloon", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: create: %w", err)
	}
	return &file{kind: plan.Memfd, fd: fd}, nil
}

// newFile makes a file in dir. One that is kept has a name of its own, and is
// what an earlier process has left there.
func newFile(kind plan.Kind, dir string, keep bool) (*file, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, fmt.Errorf("%s: %s: %w: mount a volume there or choose another directory", kind, dir, err)
	}
	switch isTmpfs := int64(fs.Type) == unix.TMPFS_MAGIC; {
	case kind == plan.Tmpfs && !isTmpfs:
		return nil, fmt.Errorf("tmpfs: %s is no tmpfs: mount an emptyDir with medium Memory there", dir)
	case kind != plan.Tmpfs && isTmpfs:
		return nil, fmt.Errorf("%s: %s is a tmpfs: page cache needs a directory on a disk", kind, dir)
	}
	name, flags := filepath.Join(dir, "oomlab-balloon-"+string(kind)), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC
	if !keep {
		name, flags = name+"-"+strconv.Itoa(unix.Getpid()), flags|unix.O_EXCL
	}
	fd, err := unix.Open(name, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: create %s: %w", kind, name, err)
	}
	if keep {
		return &file{kind: kind, fd: fd}, nil
	}
	if err := unix.Unlink(name); err != nil {
		return nil, fmt.Errorf("%s: unlink %s: %w", kind, name, err)
	}
	return &file{kind: kind, fd: fd}, nil
}

func (f *file) held() mem.Bytes    { return f.level }
func (f *file) granule() mem.Bytes { return pageSize }

// fileBatch is how much of a file is read or written at once, 1 or 2 ms.
const fileBatch = 4 * mem.MiB

func (f *file) grow(by mem.Bytes) error {
	by = min(by, fileBatch)
	if f.isClean() {
		if err := unix.Ftruncate(f.fd, int64(f.level+by)); err != nil {
			return fmt.Errorf("%s: extend the file: %w", f.kind, err)
		}
	}
	if err := f.use(f.level, by); err != nil {
		return err
	}
	f.level += by
	return nil
}

func (f *file) shrink(by mem.Bytes) error {
	if err := unix.Ftruncate(f.fd, int64(f.level-by)); err != nil {
		return fmt.Errorf("%s: truncate the file: %w", f.kind, err)
	}
	f.level -= by
	return nil
}

func (f *file) touch(offset, length mem.Bytes) error { return f.use(offset, length) }

// isClean reports that the file is sparse and only ever read: its holes fill
// the page cache without a byte going to the disk.
func (f *file) isClean() bool { return f.kind == plan.File || f.kind == plan.Mapped }

// use brings a part of the file into memory, by reading or by writing it.
func (f *file) use(offset, length mem.Bytes) error {
	if !f.isClean() {
		return f.write(offset, length)
	}
	for length > 0 {
		within := offset % regionSize
		n := min(length, regionSize-within)
		window, err := f.window(offset - within)
		if err != nil {
			return err
		}
		readPages(unsafe.Slice((*byte)(unsafe.Add(window, within)), int(n)))
		if f.kind == plan.File {
			if err := unix.MunmapPtr(window, uintptr(regionSize)); err != nil {
				return fmt.Errorf("file: unmap: %w", err)
			}
		}
		offset += n
		length -= n
	}
	return nil
}

// window maps the region of the file that starts at offset.
func (f *file) window(offset mem.Bytes) (unsafe.Pointer, error) {
	if i := int(offset / regionSize); i < len(f.regions) {
		return f.regions[i], nil
	}
	window, err := unix.MmapPtr(f.fd, int64(offset), nil, uintptr(regionSize), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%s: map the file: %w", f.kind, err)
	}
	if f.kind == plan.Mapped {
		f.regions = append(f.regions, window)
	}
	return window, nil
}

// readPages maps every page of b, reading it into the page cache first.
func readPages(b []byte) {
	for {
		switch unix.Madvise(b, unix.MADV_POPULATE_READ) {
		case nil:
			return
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		for i := 0; i < len(b); i += int(pageSize) { // kernels before 5.14
			sink = b[i]
		}
		return
	}
}

var sink byte

// zeros is what is written to files: small, for it is the balloon's own memory.
var zeros [16 << 10]byte

func (f *file) write(offset, length mem.Bytes) error {
	for length > 0 {
		n, err := unix.Pwrite(f.fd, zeros[:min(int(length), len(zeros))], int64(offset))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: write: %w", f.kind, err)
		}
		offset += mem.Bytes(n)
		length -= mem.Bytes(n)
	}
	return nil
}
