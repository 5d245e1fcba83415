package evidence

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

var garbage []byte

// While it is postponed, what would have been collected several times is not; it
// is when too much has come together, and as ever afterwards.
func TestPostponeGC(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer debug.SetGCPercent(percent)
	collections := func(size mem.Bytes) (n uint32) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for ; size > 0; size -= mem.MiB {
			garbage = make([]byte, mem.MiB)
		}
		runtime.ReadMemStats(&after)
		return after.NumGC - before.NumGC
	}
	if n := collections(gcRoom / 2); n == 0 {
		t.Fatal("nothing is collected, whoever postpones it or not")
	}
	first, second := PostponeGC(), PostponeGC()
	if n := collections(gcRoom / 2); n != 0 {
		t.Errorf("%d collections while they were postponed", n)
	}
	first()
	first() // once more changes nothing
	if n := collections(gcRoom / 4); n != 0 {
		t.Errorf("%d collections while one still wanted none", n)
	}
	if n := collections(2 * gcRoom); n == 0 {
		t.Error("no collection, however much there was to collect")
	}
	second()
	if n := collections(gcRoom / 2); n == 0 {
		t.Error("no collection any more")
	}
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("the limit is %d, was %d", got, limit)
	}
}
