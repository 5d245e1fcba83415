package balloon

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// mapping is memory that the process maps for itself.
type mapping struct {
	traits
	pool    *pool
	regions [][]byte // of equal length, filled in order
	level   mem.Bytes
}

func (m *mapping) held() mem.Bytes    { return m.level }
func (m *mapping) granule() mem.Bytes { return m.traits.granule }

func (m *mapping) grow(by mem.Bytes) error {
	if m.level == mem.Bytes(len(m.regions))*m.region {
		if err := m.reserve(); err != nil {
			return err
		}
	}
	if m.after != 0 {
		by = min(by, chunk) // soon, as what was not yet given away counts in full
	}
	n, err := m.fault(m.part(m.level, min(by, max(stride, m.traits.granule))))
	m.level += mem.Bytes(n)
	return err
}

func (m *mapping) shrink(by mem.Bytes) error {
	for by > 0 {
		n := min(by, (m.level-1)%m.region+1) // what the last region holds
		if err := m.giveBack(m.part(m.level-n, n)); err != nil {
			return err
		}
		m.level -= n
		by -= n
	}
	return nil
}

func (m *mapping) touch(offset, length mem.Bytes) error {
	for length > 0 {
		part := m.part(offset, length)
		touchPages(part)
		offset += mem.Bytes(len(part))
		length -= mem.Bytes(len(part))
	}
	return nil
}

// part returns the bytes from offset on, at most length, within one region.
func (m *mapping) part(offset, length mem.Bytes) []byte {
	within := offset % m.region
	return m.regions[offset/m.region][within:min(within+length, m.region)]
}

// reserve maps another region of address space, aligned to the granule.
func (m *mapping) reserve() error {
	length := m.region
	if m.flags&unix.MAP_HUGETLB == 0 {
		length += m.traits.granule - pageSize // room to align
	}
	start, err := unix.MmapPtr(-1, 0, nil, uintptr(length), unix.PROT_READ|unix.PROT_WRITE, m.flags)
	switch {
	case err == unix.ENOMEM && m.kind == plan.HugeTLB:
		return errors.New("hugetlb: no free huge pages: reserve them on the node (vm.nr_hugepages) and as hugepages-2Mi in the pod")
	case err != nil:
		return fmt.Errorf("%s: reserve address space: %w", m.kind, err)
	}
	skip := -uintptr(start) & uintptr(m.traits.granule-1)
	region := unsafe.Slice((*byte)(unsafe.Add(start, skip)), int(m.region))
	if err := unix.Madvise(region, m.advice); err != nil && err != unix.EINVAL { // EINVAL: no THP in this kernel
		return fmt.Errorf("%s: madvise: %w", m.kind, err)
	}
	m.regions = append(m.regions, region)
	return nil
}

// fault makes b resident from its beginning on, and returns how much of it.
func (m *mapping) fault(b []byte) (n int, err error) {
	n, err = m.pool.populate(m, b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", m.kind, err)
	}
	b = b[:n]
	if m.kind == plan.Mlock && n > 0 {
		if err := unix.Mlock(b); err != nil {
			return 0, fmt.Errorf("mlock: %w: give the container the capability IPC_LOCK, or a larger RLIMIT_MEMLOCK", err)
		}
	}
	if m.after != 0 && n > 0 {
		if err := unix.Madvise(b, m.after); err != nil {
			return 0, fmt.Errorf("%s: madvise: %w", m.kind, err)
		}
	}
	return n, nil
}

// populate faults b in with one system call. Where the kernel cannot
// (it is older than 5.14, or the memory ran out just now), every page is
// touched instead: then a fault in user mode leaves it to the OOM killer
// who has to give way.
func (m *mapping) populate(b []byte) error {
	for {
		// Raw: the scheduler would take the processor away and give it back,
		// which costs as much as faulting in a megabyte.
		_, _, err := unix.RawSyscall(unix.SYS_MADVISE, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MADV_POPULATE_WRITE)
		switch {
		case err == 0:
			return nil
		case err == unix.EINTR || err == unix.EAGAIN:
		case err == unix.EINVAL, err == unix.ENOMEM && m.kind != plan.HugeTLB:
			touchPages(b)
			return nil
		default:
			return fmt.Errorf("populate: %w", err)
		}
	}
}

func (m *mapping) giveBack(b []byte) error {
	if m.kind == plan.Mlock {
		if err := unix.Munlock(b); err != nil {
			return fmt.Errorf("munlock: %w", err)
		}
	}
	if m.remove != 0 {
		if err := unix.Madvise(b, m.remove); err != nil {
			return fmt.Errorf("%s: give memory back: %w", m.kind, err)
		}
		return nil
	}
	m.regions = m.regions[:len(m.regions)-1]
	if err := unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b))); err != nil {
		return fmt.Errorf("%s: give memory back: %w", m.kind, err)
	}
	return nil
}

// touchPages writes to every page of b. The balloon holds nothing but zeros.
func touchPages(b []byte) {
	for i := 0; i < len(b); i += int(pageSize) {
		b[i] = 0
	}
}
