package balloon

import (
	"errors"
	"runtime"
	"sync"
)

// pool is the threads that fault memory in. They exist as long as the balloon:
// the kernel tears a victim with many threads down differently from one with
// few.
type pool struct {
	size int
	work chan func()
}

// newPool starts size threads; for 0 and 1 the caller's own thread works.
func newPool(size int) *pool {
	p := &pool{size: size, work: make(chan func())}
	if size <= 1 {
		return p
	}
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(size, runtime.NumCPU())))
	for range size {
		go func() {
			runtime.LockOSThread() // an OS thread of its own
			for f := range p.work {
				f()
			}
		}()
	}
	return p
}

// each gives every thread an equal part of b.
func (p *pool) each(b []byte, do func([]byte) error) error {
	if p.size <= 1 {
		return do(b)
	}
	pages := (len(b) + int(pageSize) - 1) / int(pageSize)
	share := (pages + p.size - 1) / p.size * int(pageSize)
	errs := make([]error, p.size)
	var wg sync.WaitGroup
	for i := range p.size {
		part := b[min(i*share, len(b)):min((i+1)*share, len(b))]
		if len(part) == 0 {
			break
		}
		wg.Add(1)
		p.work <- func() {
			defer wg.Done()
			errs[i] = do(part)
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
