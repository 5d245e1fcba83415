package evidence

import (
	"errors"
	"io/fs"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

// Limits reads what bounds and protects a cgroup. What is at the kernel's
// default, or what its version of cgroups does not have, is absent.
func (h Hierarchy) Limits(path string) (qos.Limits, error) {
	var l qos.Limits
	var errs []error
	read := func(to *mem.Limit, name string, usual mem.Limit) {
		found, err := h.limit(path, name, name)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		errs = append(errs, err)
		if found != usual {
			*to = found
		}
	}
	if h.Version == 1 {
		read(&l.Max, "memory.limit_in_bytes", mem.Max)
		read(&l.Swap, "memory.memsw.limit_in_bytes", mem.Max) // memory and swap
		if both, bounded := l.Swap.Bytes(); bounded {
			memory, _ := l.Max.Bytes()
			l.Swap = mem.LimitOf(both - memory)
		}
		return l, errors.Join(errs...)
	}
	none := mem.LimitOf(0)
	read(&l.Max, "memory.max", mem.Max)
	read(&l.High, "memory.high", mem.Max)
	read(&l.Low, "memory.low", none)
	read(&l.Min, "memory.min", none)
	read(&l.Swap, "memory.swap.max", mem.Max)
	group, err := h.OOMGroup(path)
	l.OOMGroup = group
	return l, errors.Join(append(errs, err)...)
}
