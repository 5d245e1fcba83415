package balloon

import "runtime"

// pool is the threads that fault memory in. They exist as long as the balloon:
// the kernel tears a victim with many threads down differently from one with
// few. Handing work to them allocates nothing.
type pool struct {
	size int
	work chan job
	done chan error
}

// job is a part of a mapping to fault in.
type job struct {
	mapping *mapping
	part    []byte
}

// newPool starts size threads; for 0 and 1 the caller's own thread works.
func newPool(size int) *pool {
	p := &pool{size: size}
	if size <= 1 {
		return p
	}
	p.work, p.done = make(chan job, size), make(chan error, size)
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(size+1, runtime.NumCPU())))
	for range size {
		go func() {
			runtime.LockOSThread() // an OS thread of its own
			for j := range p.work {
				p.done <- j.mapping.populate(j.part)
			}
		}()
	}
	return p
}

// populate gives every thread an equal part of b, and returns the first error.
func (p *pool) populate(m *mapping, b []byte) error {
	if p.size <= 1 {
		return m.populate(b)
	}
	granules := len(b) / int(m.traits.granule)
	share := (granules + p.size - 1) / p.size * int(m.traits.granule)
	jobs := 0
	for ; len(b) > 0; jobs++ {
		n := min(share, len(b))
		p.work <- job{m, b[:n]}
		b = b[n:]
	}
	var first error
	for range jobs {
		if err := <-p.done; err != nil && first == nil {
			first = err
		}
	}
	return first
}
