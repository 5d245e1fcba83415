package selfcheck

import (
	"fmt"
	"os"
	"testing"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab"
)

// The kernel of this machine judges a few experiments, and nothing is left.
func TestOnThisKernel(t *testing.T) {
	h, err := evidence.FindHierarchy()
	if err != nil {
		t.Skipf("needs a memory controller: %v", err)
	}
	name := fmt.Sprintf("oomlab-%d", os.Getpid())
	if err := os.Mkdir(h.Dir("/"+name), 0o755); err != nil {
		t.Skipf("needs root, or a delegated cgroup: %v", err)
	}
	if err := os.Remove(h.Dir("/" + name)); err != nil {
		t.Fatal(err)
	}
	kmsg, err := evidence.OpenKmsg()
	if err != nil {
		t.Skipf("needs the kernel's log: %v", err)
	}
	if err := kmsg.Close(); err != nil {
		t.Fatal(err)
	}
	facts, err := host.Read()
	if err != nil {
		t.Fatal(err)
	}
	stressor, err := lab.Stressor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 8
	r, err := Run(t.Context(), Options{
		Experiments: n, Seed: 1, Workers: 2, Stressor: stressor, LowestAdj: facts.LowestAdj, CgroupName: name,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Experiments+r.Unfit != n || r.NoKill > 0 || r.Unseen > 0 || r.Differ > 0 || r.Forecast.Disagree > 0 || r.Replay.Disagree > 0 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(h.Dir("/" + name)); !os.IsNotExist(err) {
		t.Errorf("the cgroup %s is left: %v", name, err)
	}
}
