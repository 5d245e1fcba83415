package evidence

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
)

const pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000"

func TestSample(t *testing.T) {
	want := record.MemorySample{Usage: 100 * mem.MiB, Anon: 60 * mem.MiB, File: 30 * mem.MiB, Shmem: 10 * mem.MiB}
	for name, tt := range map[string]struct {
		version int
		files   map[string]string
		stallOf string
	}{
		"v2": {2, map[string]string{
			"memory.current": "104857600", "memory.stat": "anon 62914560\nfile 31457280\nkernel 10485760\nshmem 10485760", "memory.pressure": pressure,
		}, "cgroup"},
		"v1": {1, map[string]string{
			"memory.usage_in_bytes": "104857600",
			"memory.stat":           "cache 1\nrss 2\nshmem 3\ntotal_cache 31457280\ntotal_rss 62914560\ntotal_shmem 10485760",
		}, "machine"},
	} {
		h := Hierarchy{Version: tt.version, Mount: t.TempDir()}
		writeCgroup(t, h, tt.files)
		ctx, cancel := context.WithCancel(t.Context())
		curve := h.Curve(ctx, "/", time.Now())
		cancel()
		got := <-curve
		if len(got.Samples) == 0 || got.Error != "" {
			t.Fatalf("%s: %+v", name, got)
		}
		s := got.Samples[0]
		s.AtSeconds = 0
		if _, err := readStall("/proc/pressure/memory"); tt.stallOf == "machine" && err != nil {
			tt.stallOf = "" // as this machine's kernel keeps no account
		}
		if got.StallOf != tt.stallOf || (s.Stalled == nil) != (tt.stallOf == "") {
			t.Errorf("%s: stalls of %q: %v", name, got.StallOf, s.Stalled)
		}
		if tt.stallOf == "cgroup" && *s.Stalled != (record.Stall{SomeSeconds: 1.5, FullSeconds: 0.25}) {
			t.Errorf("%s: stalled %+v", name, s.Stalled)
		}
		s.Stalled = nil
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCurveEnds(t *testing.T) {
	h := Hierarchy{Version: 2, Mount: t.TempDir()}
	if c := <-h.Curve(t.Context(), "/gone", time.Now()); len(c.Samples) > 0 || c.Error != "" {
		t.Errorf("of a cgroup that is not there: %+v", c)
	}
	writeCgroup(t, h, map[string]string{"memory.current": "1", "memory.stat": "anon much"})
	if c := <-h.Curve(t.Context(), "/", time.Now()); !strings.Contains(c.Error, "read anon of") {
		t.Errorf("of a number that is none: %+v", c)
	}
}

func writeCgroup(t *testing.T, h Hierarchy, files map[string]string) {
	t.Helper()
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(h.Mount, file), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
