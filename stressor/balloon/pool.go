package balloon

import (
	"runtime"
	"sync/atomic"

	"github.com/oomlab/oomlab/internal/mem"
)

const (
	// stride is how much is faulted in before the threads meet again.
	stride = 64 * mem.MiB
	// chunk is how much of it one thread faults in at a time, or 4 huge pages: a
	// pause takes effect within that, about 1 ms.
	chunk = 2 * mem.MiB
)

// pool is the threads that fault memory in: the one that carries out the plan,
// and its helpers. Handing work to them allocates nothing.
type pool struct {
	size  int         // all threads
	asked bool        // by the plan, so that they share whatever there is to do
	stop  func() bool // a command has arrived
	begin chan struct{}
	done  chan error

	// What is faulted in at the moment, by whoever takes the next piece.
	mapping *mapping
	part    []byte
	piece   int
	taken   atomic.Int64 // pieces
}

// newPool returns a pool of as many threads as the plan asks for. They exist as
// long as the balloon: the kernel tears a victim with many threads down
// differently from one with few. Unasked, whole strides are faulted in on two
// processors; a balloon that never moves that fast does not get a helper.
func newPool(threads int, stop func() bool) *pool {
	p := &pool{size: threads, asked: threads > 0, stop: stop}
	if p.asked {
		p.start()
	} else {
		p.size = min(2, runtime.NumCPU())
	}
	return p
}

// start starts the helpers, if there are any to start.
func (p *pool) start() {
	if p.size == 1 || p.begin != nil {
		return
	}
	p.begin, p.done = make(chan struct{}, p.size), make(chan error, p.size)
	// One more, so that commands arrive while all are in the kernel.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(p.size, runtime.NumCPU())+1))
	for range p.size - 1 {
		go func() {
			if p.asked {
				runtime.LockOSThread() // an OS thread of its own
			}
			for range p.begin {
				p.done <- p.takePieces()
			}
		}()
	}
}

// populate faults in b, from its beginning on, until a command arrives. It
// returns how much that was.
func (p *pool) populate(m *mapping, b []byte) (n int, err error) {
	granule := int(m.traits.granule)
	p.mapping, p.part, p.piece = m, b, max(int(chunk), 4*granule)
	p.taken.Store(0)
	helpers := 0
	if p.asked || mem.Bytes(len(b)) >= stride {
		p.start()
		helpers = p.size - 1
		each := (len(b)/granule + p.size - 1) / p.size * granule
		p.piece = min(p.piece, max(each, granule))
	}
	for range helpers {
		p.begin <- struct{}{}
	}
	err = p.takePieces()
	for range helpers {
		if e := <-p.done; e != nil && err == nil {
			err = e
		}
	}
	return min(len(b), int(p.taken.Load())*p.piece), err
}

// takePieces faults in one piece after the other, until none is left.
func (p *pool) takePieces() error {
	for !p.stop() {
		from := (int(p.taken.Add(1)) - 1) * p.piece
		if from >= len(p.part) {
			return nil
		}
		if err := p.mapping.populate(p.part[from:min(from+p.piece, len(p.part))]); err != nil {
			return err
		}
	}
	return nil
}
