package balloon

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

var pageSize = mem.Bytes(os.Getpagesize())

// store returns the memory of kind, empty when it is first asked for. A hold
// has no kind and no store.
func (b *Balloon) store(kind plan.Kind) (store, error) {
	if st := b.stores[kind]; st != nil || kind == "" {
		return st, nil
	}
	st, err := b.newStore(kind)
	if err != nil {
		return nil, err
	}
	if b.stores == nil {
		b.stores = map[plan.Kind]store{}
	}
	b.stores[kind] = st
	return st, nil
}

func (b *Balloon) newStore(kind plan.Kind) (store, error) {
	if b.pool == nil {
		b.pool = newPool(b.Threads, func() bool { return len(b.Commands) > 0 })
	}
	switch kind {
	case plan.Tmpfs:
		return newFile(kind, b.TmpfsDir, b.KeepFiles)
	case plan.Memfd:
		return newMemfd()
	case plan.File, plan.Dirty, plan.Mapped:
		return newFile(kind, b.Dir, b.KeepFiles)
	}
	t, err := traitsOf(kind)
	if err != nil {
		return nil, err
	}
	return &mapping{traits: t, pool: b.pool}, nil
}

// traits is what makes one kind of mapped memory differ from another.
type traits struct {
	kind    plan.Kind
	flags   int       // of mmap
	region  mem.Bytes // address space reserved at once, which costs no memory
	granule mem.Bytes
	advice  int // given to a region before it is used
	after   int // given to what was just faulted in; 0: none
	remove  int // gives memory back; 0: by unmapping the region
}

// traitsOf says how the kernel is asked for each kind.
func traitsOf(kind plan.Kind) (traits, error) {
	t := traits{
		kind:    kind,
		flags:   unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE,
		region:  mem.GiB,
		granule: pageSize,
		advice:  unix.MADV_NOHUGEPAGE,
		remove:  unix.MADV_DONTNEED,
	}
	switch kind {
	case plan.Anon, plan.Mlock:
	case plan.Cold:
		t.after = unix.MADV_COLD
	case plan.LazyFree:
		t.after = unix.MADV_FREE
	case plan.Shm:
		t.flags = unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE
		t.remove = unix.MADV_REMOVE
	case plan.THP:
		if err := allowHugePages(); err != nil {
			return t, err
		}
		size, err := hugePageSize()
		if err != nil {
			return t, err
		}
		t.granule, t.advice = size, unix.MADV_HUGEPAGE
	case plan.HugeTLB:
		size, err := hugetlbSize()
		if err != nil {
			return t, err
		}
		// Without MAP_NORESERVE mmap fails where too few pages are reserved;
		// with it, touching them would be a SIGBUS.
		t.flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB
		t.region, t.granule, t.advice, t.remove = size, size, unix.MADV_NORMAL, 0
	default:
		return t, fmt.Errorf("%s: no such kind of memory", kind)
	}
	return t, nil
}

// hugePageSize returns the size of a transparent huge page.
func hugePageSize() (mem.Bytes, error) {
	data, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	if err != nil {
		return 0, fmt.Errorf("thp: %w", err)
	}
	return mem.ParseBytes(strings.TrimSpace(string(data)))
}

// hugetlbSize returns the default huge page size (/proc/meminfo Hugepagesize).
func hugetlbSize() (mem.Bytes, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("hugetlb: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Hugepagesize:" {
			return mem.ParseBytes(f[1] + "Ki")
		}
	}
	return 0, fmt.Errorf("hugetlb: /proc/meminfo has no Hugepagesize: this kernel has no huge pages")
}
