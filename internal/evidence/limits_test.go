package evidence

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		version int
		files   map[string]string
		want    qos.Limits
	}{
		"v2, all set": {2, map[string]string{
			"memory.max": "1073741824", "memory.high": "536870912", "memory.low": "4096", "memory.min": "8192",
			"memory.swap.max": "0", "memory.oom.group": "1",
		}, qos.Limits{
			Max: mem.LimitOf(mem.GiB), High: mem.LimitOf(512 * mem.MiB), Low: mem.LimitOf(4096), Min: mem.LimitOf(8192),
			Swap: mem.LimitOf(0), OOMGroup: true,
		}},
		"v2, the kernel's defaults": {2, map[string]string{
			"memory.max": "max", "memory.high": "max", "memory.low": "0", "memory.min": "0", "memory.swap.max": "max", "memory.oom.group": "0",
		}, qos.Limits{}},
		"v2 without swap": {2, map[string]string{"memory.max": "max"}, qos.Limits{}},
		"v1, no swap beyond the limit": {1, map[string]string{
			"memory.limit_in_bytes": "1073741824", "memory.memsw.limit_in_bytes": "1073741824",
		}, qos.Limits{Max: mem.LimitOf(mem.GiB), Swap: mem.LimitOf(0)}},
		"v1, no limit": {1, map[string]string{
			"memory.limit_in_bytes": "9223372036854771712", "memory.memsw.limit_in_bytes": "9223372036854771712",
		}, qos.Limits{}},
	} {
		h := Hierarchy{Version: tt.version, Mount: t.TempDir()}
		for file, text := range tt.files {
			if err := os.WriteFile(filepath.Join(h.Mount, file), []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := h.Limits("/")
		if err != nil || got != tt.want {
			t.Errorf("%s: %v, %s", name, err, cmp.Diff(tt.want, got, cmp.AllowUnexported(mem.Limit{})))
		}
	}
	h := Hierarchy{Version: 2, Mount: t.TempDir()}
	if err := os.WriteFile(filepath.Join(h.Mount, "memory.high"), []byte("much"), 0o644); err != nil {
		t.Fatal(err)
	}
	if l, err := h.Limits("/"); err == nil {
		t.Errorf("a limit of \"much\" is read as %v", l)
	}
}
