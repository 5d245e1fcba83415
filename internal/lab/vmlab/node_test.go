package vmlab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/scenarios"
)

// A machine with a kubelet brings along what it needs before it has its disk,
// and is told where that is.
func TestPrepareNode(t *testing.T) {
	dir := t.TempDir()
	for name, env := range map[string]string{"guest": lab.GuestEnv, "node": lab.NodeEnv, "stressor": lab.StressorEnv, "ext4.ko": ""} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if env != "" {
			t.Setenv(env, path)
		}
	}
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{CgroupVersion: 2, Accelerator: TCG, Node: &Node{Disk: "root", Modules: []string{filepath.Join(dir, "ext4.ko")}}}
	m := machine{}
	files, err := o.prepareNode(t.Context(), &m, wire.Job{Scenario: s})
	if err != nil {
		t.Fatal(err)
	}
	if m.memory != 1920*mem.MiB || m.processors != NodeProcessors || !slices.Equal(m.disks, []disk{{file: "root"}}) {
		t.Errorf("%+v", m)
	}
	var names []string
	var job wire.Job
	for _, f := range files {
		names = append(names, f.name)
		if "/"+f.name == wire.JobFile {
			if err := json.Unmarshal(f.data, &job); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, want := range []string{"init", wire.NodeProgram, wire.StressorImage, "ext4.ko", "job.json"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s among %q", want, names)
		}
	}
	if job.Node == nil || !slices.Equal(job.Modules, []string{"/ext4.ko"}) || !strings.Contains(job.Node.Image, "oomlab/stressor:") || job.Node.Patience != slower {
		t.Errorf("job %+v", job.Node)
	}
	seed := 0
	for name, o := range map[string]Options{"cgroup v1": {CgroupVersion: 1, Node: o.Node}, "a seed": {CgroupVersion: 2, Seed: &seed, Node: o.Node}} {
		if _, err := o.prepareNode(t.Context(), &m, wire.Job{Scenario: s}); err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
}
