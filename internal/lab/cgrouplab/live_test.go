package cgrouplab_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

// newLab returns the lab, or skips where this machine lets nobody make cgroups
// or read the kernel's log.
func newLab(t *testing.T) (*cgrouplab.Lab, host.Facts) {
	t.Helper()
	h, err := evidence.FindHierarchy()
	if err != nil {
		t.Skipf("needs a memory controller: %v", err)
	}
	probe := h.Dir("/oomlab-probe")
	if err := os.Mkdir(probe, 0o755); err != nil {
		t.Skipf("needs root, or a delegated cgroup: %v", err)
	}
	if err := os.Remove(probe); err != nil {
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
	lab, err := cgrouplab.New(t.Context(), cgrouplab.Options{Kubelet: qos.Newest, LowestAdj: facts.LowestAdj})
	if err != nil {
		t.Fatal(err)
	}
	return lab, facts
}

// The kernel of this machine kills whom the model names, and a control that
// must fail does.
func TestScenariosOnThisKernel(t *testing.T) {
	lab, facts := newLab(t)
	for name, want := range map[string]record.Verdict{
		"qos-order": record.Pass, "oom-score-misleads": record.Pass, "least-kills": record.Pass,
		"control-inverted-order": record.Fail, "control-sigkill": record.Fail,
	} {
		s, err := scenarios.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := run.Run(t.Context(), lab, s, run.Options{Host: facts.Record()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Verdict != want {
			t.Errorf("%s: %s, want %s: %+v %+v", name, r.Verdict, want, r.Claims, r.Findings)
		}
	}
	own := filepath.Join(mount(t), fmt.Sprint(cgrouplab.Prefix, os.Getpid()))
	if _, err := os.Stat(own); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %s (%v)", own, err)
	}
}

func mount(t *testing.T) string {
	t.Helper()
	h, err := evidence.FindHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	return h.Mount
}

func TestGlobalIsRefused(t *testing.T) {
	s := &scenarios.Scenario{Node: scenarios.Node{Domain: qos.LevelGlobal}}
	if _, err := new(cgrouplab.Lab).Prepare(t.Context(), s); err == nil || !strings.Contains(err.Error(), "--lab vm") {
		t.Errorf("error %v", err)
	}
}
