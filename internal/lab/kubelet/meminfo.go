package kubelet

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/oomlab/oomlab/internal/mem"
)

// WriteMeminfo writes DIR/meminfo for a node of that size, with so much swap. It
// writes in place: a bind mount follows the file, not its name.
func WriteMeminfo(dir string, size, swap mem.Bytes) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write meminfo of a node: %w", err)
	}
	text := fmt.Sprintf("MemTotal:       %[1]d kB\nMemFree:        %[1]d kB\nMemAvailable:   %[1]d kB\nBuffers:        0 kB\nCached:         0 kB\n"+
		"SwapCached:     0 kB\nSwapTotal:      %[2]d kB\nSwapFree:       %[2]d kB\nHugePages_Total: 0\nHugePages_Free: 0\nHugepagesize:   2048 kB\nHugetlb:        0 kB\n",
		int64(size/mem.KiB), int64(swap/mem.KiB))
	if err := os.WriteFile(filepath.Join(dir, "meminfo"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write meminfo of a node: %w", err)
	}
	return nil
}
