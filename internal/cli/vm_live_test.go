package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/kernelimage"
	"github.com/oomlab/oomlab/internal/lab/vmlab"
	"github.com/oomlab/oomlab/internal/run"
)

const family = `apiVersion: oomlab.dev/v1alpha1
kind: Scenario
metadata:
  name: family
title: A container of several processes runs into its limit
story: What the kubelet is asked for decides whether one process dies or all.
needs: {kubelet: '1.32', cgroup: 2}
node:
  memory: 768Mi
  domain: container
  kubelet:
    singleProcessOOMKill: true
    evictionHard: {memory.available: 100Mi}
    crashLoopBackOff: {maxContainerRestartPeriod: 2s}
workloads:
- name: family
  limits: {memory: 128Mi}
  press: ramp 100Mi at 50Mi/s
  beside: [fill 70Mi, fill 10Mi]
until: {kills: 1}
`

// What was planted between two sides is found and named, and two sides without
// a difference have none.
func TestPlantedDifferencesInMachines(t *testing.T) {
	kernels, err := kernelimage.Cached()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(vmlab.Program); err != nil || len(kernels) == 0 {
		t.Skip("needs QEMU and a kernel: oomlab run --lab vm fetches them")
	}
	dir := t.TempDir()
	after := strings.NewReplacer("Kill: true", "Kill: false", "100Mi}", "150Mi}", "Period: 2s", "Period: 4s").Replace(family)
	for side, text := range map[string]string{"before": family, "same": family, "after": after} {
		file := filepath.Join(dir, side+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		args := []string{"matrix", "--lab=vm", "--kernels=" + kernels[len(kernels)-1].Version, "--scenarios=" + file, "--seeded", "--repeat=1", "--out=" + filepath.Join(dir, side)}
		code := Main(args, &out, &out)
		if strings.Contains(out.String(), run.ErrUnsafe.Error()) {
			t.Skip(out.String())
		}
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", side, code, out.String())
		}
	}
	for side, want := range map[string][]string{
		"same": {"differences: 0 unexplained, 0 explained, 0 only noise"},
		"after": {
			"changed: asked of the kubelet: crashLoopBackOff.maxContainerRestartPeriod: 2s, now 4s",
			"changed: asked of the kubelet: evictionHard.memory.available: 100Mi, now 150Mi",
			"changed: asked of the kubelet: singleProcessOOMKill: true, now false",
			"explained: limit of family memory.oom.group: 0, now 1",
			"explained: kills per decision of family: 1 process, now 3 processes",
			"differences: 0 unexplained",
		},
	} {
		var out bytes.Buffer
		if code := Main([]string{"compare", filepath.Join(dir, "before"), filepath.Join(dir, side)}, &out, &out); code != 0 {
			t.Errorf("%s: exit code %d", side, code)
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%s: no %q in\n%s", side, text, out.String())
			}
		}
	}
}
