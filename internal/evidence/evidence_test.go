package evidence

import (
	"testing"
)

func TestParseProcCgroup(t *testing.T) {
	const hybrid = "9:name=systemd:/s\n4:cpu,memory:/node/pod\n0::/unified\n"
	for version, want := range map[int]string{1: "/node/pod", 2: "/unified"} {
		if got, ok := (Hierarchy{Version: version}).parseProcCgroup(hybrid); !ok || got != want {
			t.Errorf("v%d: %q, %v; want %q", version, got, ok, want)
		}
	}
	if got, ok := (Hierarchy{Version: 1}).parseProcCgroup("0::/unified\n"); ok {
		t.Errorf("no memory controller, but %q", got)
	}
}

func TestThisMachine(t *testing.T) {
	h, err := FindHierarchy()
	if err != nil {
		t.Skipf("%v", err)
	}
	kernel, err := h.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	if kernel.RAM == 0 || kernel.CPUs == 0 || kernel.PageSize < 4096 || !kernel.Version.AtLeast(3, 0) {
		t.Errorf("kernel %+v", kernel)
	}
	if available, err := MemAvailable(); err != nil || available <= 0 || available > kernel.RAM.Bytes(kernel.PageSize) {
		t.Errorf("MemAvailable = %v, %v of %v pages", available, err, kernel.RAM)
	}
}
