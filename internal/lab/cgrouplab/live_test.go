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
	"github.com/oomlab/oomlab/internal/mem"
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

// A container that presses on top of a balloon holds it, and no more, when the
// snapshot is taken, and makes memory run out as foretold.
func TestPressureOnTopOfABalloon(t *testing.T) {
	lab, facts := newLab(t)
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Workloads {
		if w := &s.Workloads[i]; w.Press != "" {
			w.Balloon = "fill 60Mi, hold 500ms, fill 120Mi"
		}
	}
	r, err := run.Run(t.Context(), lab, s, run.Options{Host: facts.Record()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != record.Pass {
		t.Errorf("%s: %+v %+v", r.Verdict, r.Claims, r.Findings)
	}
	for _, task := range r.Snapshot.Tasks {
		if r.Owners[task.PID].Workload != "pressure" {
			continue
		}
		if held := task.Anon.Bytes(r.Snapshot.Kernel.PageSize); held < 120*mem.MiB || held > 122*mem.MiB {
			t.Errorf("the pressing pod holds %s before it presses, want its balloon of 120Mi", held.Human())
		}
		return
	}
	t.Error("the snapshot has no pressing pod")
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
