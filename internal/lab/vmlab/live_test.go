package vmlab_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/kernelimage"
	"github.com/oomlab/oomlab/internal/lab/vmlab"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/internal/verdict"
	"github.com/oomlab/oomlab/scenarios"
)

// kernel returns a kernel that has been fetched, or skips where no machine can
// be booted without fetching or installing something.
func kernel(t *testing.T) kernelimage.Image {
	t.Helper()
	if _, err := exec.LookPath(vmlab.Program); err != nil {
		t.Skipf("needs QEMU: %v", err)
	}
	kernels, err := kernelimage.Cached()
	if err != nil {
		t.Fatal(err)
	}
	if len(kernels) == 0 {
		t.Skip("needs a kernel: oomlab kernel fetch 6.12")
	}
	return kernels[len(kernels)-1]
}

// A whole machine runs out of memory; every score is true; and the same seed
// tells the same story again, to the byte.
func TestSeedOnARealKernel(t *testing.T) {
	image := kernel(t)
	s, err := scenarios.Named("qos-order-machine")
	if err != nil {
		t.Fatal(err)
	}
	seed := 0
	var texts []string
	for range 2 {
		r, err := vmlab.Run(t.Context(), s, vmlab.Options{
			Kernel: image.File, KernelName: image.Package, Kubelet: qos.Newest,
			CgroupVersion: 2, Accelerator: vmlab.TCG, Seed: &seed,
		})
		if errors.Is(err, run.ErrUnsafe) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != record.Pass || r.Lab != scenarios.MachineLab || r.VM == nil {
			t.Fatalf("%s in the lab %s, %+v: %+v %+v", r.Verdict, r.Lab, r.VM, r.Claims, r.Findings)
		}
		t.Logf("Linux %s: %s in %.1f s", r.Host.Kernel, r.Verdict, r.VM.ElapsedSeconds)
		r.VM.Started, r.VM.ElapsedSeconds = time.Time{}, 0
		lowest := 0
		for _, score := range r.Scores {
			lowest = min(lowest, score.Observed)
		}
		if lowest != -997 {
			t.Errorf("the lowest oom_score_adj is %d: want -997, as the kubelet gives a Guaranteed pod", lowest)
		}
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if diff := cmp.Diff(strings.Split(texts[0], "\n"), strings.Split(texts[1], "\n")); diff != "" {
		t.Errorf("the second run of a seed is another one (-first +second):\n%s", diff)
	}
}

func TestWhatIsNoKernel(t *testing.T) {
	kernel(t)
	s, err := scenarios.Named("qos-order-machine")
	if err != nil {
		t.Fatal(err)
	}
	_, err = vmlab.Run(t.Context(), s, vmlab.Options{
		Kernel: "live_test.go", KernelName: "a Go file", Kubelet: qos.Newest, CgroupVersion: 2, Accelerator: vmlab.TCG,
	})
	if !errors.Is(err, vmlab.ErrMachine) && !errors.Is(err, run.ErrUnsafe) {
		t.Errorf("error %v, want ErrMachine", err)
	}
}

// An ordinary user with a delegated cgroup sees who dies, and is told what he
// can't see.
func TestOrdinaryUser(t *testing.T) {
	image := kernel(t)
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	r, err := vmlab.Run(t.Context(), s, vmlab.Options{
		Kernel: image.File, KernelName: image.Package, Kubelet: qos.Newest, CgroupVersion: 2, Accelerator: vmlab.TCG, User: 1000,
	})
	if errors.Is(err, run.ErrUnsafe) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	want := map[string]record.Verdict{
		verdict.Forecast: record.Pass, verdict.Killed: record.Pass, verdict.Survive: record.Pass, verdict.OOMScore: record.Pass,
		verdict.Scores: record.Unsupported, verdict.Evidence: record.Unsupported, verdict.Restarted: record.Unsupported,
	}
	for _, c := range r.Claims {
		if v, ok := want[c.Name]; ok && c.Verdict != v {
			t.Errorf("%s is %s, want %s: %s", c.Name, c.Verdict, v, c.Sentence)
		}
		if c.Verdict == record.Unsupported && c.Missing == "" {
			t.Errorf("%s is unsupported without a proof", c.Name)
		}
		delete(want, c.Name)
	}
	if len(want) > 0 || r.Host.LowestAdj != 0 {
		t.Errorf("not judged: %v; the lowest score that may be given is %d", want, r.Host.LowestAdj)
	}
	t.Logf("Linux %s as user 1000: %s in %.1f s", r.Host.Kernel, r.Verdict, r.VM.ElapsedSeconds)
}
