package evidence

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/oomlab/oomlab/internal/mem"
)

// gcRoom is what PostponeGC lets the heap grow by.
const gcRoom = 128 * mem.MiB

var postponed struct {
	sync.Mutex
	callers int
	percent int   // as it was before
	limit   int64 // as it was before, in bytes
}

// PostponeGC collects garbage now, and then none until resume is called or
// gcRoom is used up. To collect, Go stops every thread, and those that the
// machine lets wait for a processor can't be stopped before they have it: on a
// node that runs out of memory, a kill would be heard of a tenth of a second late.
func PostponeGC() (resume func()) {
	postponed.Lock()
	defer postponed.Unlock()
	if postponed.callers++; postponed.callers == 1 {
		runtime.GC()
		postponed.percent = debug.SetGCPercent(-1)
		postponed.limit = debug.SetMemoryLimit(-1)
		debug.SetMemoryLimit(min(postponed.limit, int64(inUse()+gcRoom)))
	}
	return sync.OnceFunc(func() {
		postponed.Lock()
		defer postponed.Unlock()
		if postponed.callers--; postponed.callers == 0 {
			debug.SetMemoryLimit(postponed.limit)
			debug.SetGCPercent(postponed.percent)
		}
	})
}

// inUse is what a memory limit of Go's counts.
func inUse() mem.Bytes {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return mem.Bytes(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
