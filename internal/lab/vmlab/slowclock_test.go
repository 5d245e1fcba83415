package vmlab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
)

// QEMU, and nobody else, has the slower clocks, where they are asked for.
func TestSlowClock(t *testing.T) {
	defer func(library string) { slowClockLibrary = library }(slowClockLibrary)
	slowClockLibrary = filepath.Join(t.TempDir(), "clock.so")
	if _, err := slowClock(4); err == nil || !strings.Contains(err.Error(), slowClockPackage) {
		t.Errorf("error %v, want the package that is missing", err)
	}
	if err := os.WriteFile(slowClockLibrary, nil, 0o644); err != nil { // a preloaded file that is no library is skipped
		t.Fatal(err)
	}
	fakeQEMU(t, `printf '{"line":"%s %s"}\n{"done":true}\n' "$LD_PRELOAD" "$FAKETIME" >&5`)
	for slowdown, want := range map[int]string{0: " ", 1: " ", 4: slowClockLibrary + " +0 x0.25", 5: slowClockLibrary + " +0 x0.2"} {
		m := anyMachine
		m.slowdown = slowdown
		var said string
		if _, err := m.boot(t.Context(), nil, func(m wire.Message) { said = m.Line }); err != nil || said != want {
			t.Errorf("%d times slower: QEMU was told %q, %v; want %q", slowdown, said, err, want)
		}
	}
	if os.Getenv("FAKETIME") != "" {
		t.Error("this process has a slower clock, too")
	}
}
