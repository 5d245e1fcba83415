package kindlab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab"
)

func TestClusterConfig(t *testing.T) {
	config, err := clusterConfig(Options{Config: oomlab.KindConfig, Name: "oomlab-1", Image: "image"}, "/dir", hostNeeds{cgroupVersion: 1, restrictAdj: true})
	if err != nil {
		t.Fatal(err)
	}
	var mounts []string
	for _, n := range config.Nodes {
		if n.Image != "image" {
			t.Errorf("%s has image %q", n.Role, n.Image)
		}
		for _, m := range n.ExtraMounts {
			mounts = append(mounts, string(n.Role)+" "+m.HostPath+" "+m.ContainerPath)
		}
	}
	want := []string{"worker /dir/oomlab-1-worker/meminfo /proc/meminfo", "worker /dir/oomlab-1-worker2/meminfo /proc/meminfo"}
	if diff := cmp.Diff(want, mounts); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if !strings.Contains(strings.Join(config.KubeadmConfigPatches, ""), "failCgroupV1: false") {
		t.Error("the kubelet would refuse cgroup v1")
	}
	if !strings.Contains(strings.Join(config.ContainerdConfigPatches, ""), "restrict_oom_score_adj = true") {
		t.Error("containerd would fail to lower scores")
	}
}

func TestClusterConfigAddsOnlyWhatTheHostNeeds(t *testing.T) {
	var own v1alpha4.Cluster
	if err := yaml.Unmarshal(oomlab.KindConfig, &own); err != nil {
		t.Fatal(err)
	}
	config, err := clusterConfig(Options{Config: oomlab.KindConfig, Name: "n", Image: "i"}, "/d", hostNeeds{cgroupVersion: 2})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own.KubeadmConfigPatches, config.KubeadmConfigPatches); diff != "" || config.ContainerdConfigPatches != nil {
		t.Errorf("patches: %s%v", diff, config.ContainerdConfigPatches)
	}
	for name, raw := range map[string]string{
		"no worker":     "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane}]\n",
		"unknown field": "kind: Cluster\nnodse: []\n",
	} {
		if _, err := clusterConfig(Options{Config: []byte(raw), Name: "n", Image: "i"}, "/d", hostNeeds{}); err == nil || !strings.Contains(err.Error(), "kind-config.yaml") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestClusterConfigGivesEachWorkerItsImage(t *testing.T) {
	want := []string{"control-plane image", "worker a", "worker b", "worker c"}
	config, err := clusterConfig(Options{
		Config: oomlab.KindConfig, Name: "n", Image: "image", WorkerImages: []string{"a", "b", "c"},
	}, "/d", hostNeeds{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, n := range config.Nodes {
		got = append(got, string(n.Role)+" "+n.Image)
		if n.Role == v1alpha4.WorkerRole && (len(n.ExtraMounts) != 1 || n.ExtraMounts[0].HostPath != filepath.Join("/d", workerNames("n", config.Nodes)[i-1], "meminfo")) {
			t.Errorf("node %d: mounts %v, want its own meminfo", i, n.ExtraMounts)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

func TestReadWorkersKeepsTheOrder(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 11 {
		name := "oomlab-1-worker"
		if i > 0 {
			name += fmt.Sprint(i + 1)
		}
		want = append(want, name)
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readWorkers(dir)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestParseKubeletState(t *testing.T) {
	got, err := parseKubeletState("MainPID=211\nNRestarts=1\nExecMainStartTimestampMonotonic=4711\n")
	if want := (kubeletState{pid: 211, restarts: 1, started: "4711"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, out := range []string{"", "MainPID=211\nNRestarts=1\n", "MainPID=x\nNRestarts=1\nExecMainStartTimestampMonotonic=1\n"} {
		if got, err := parseKubeletState(out); err == nil {
			t.Errorf("%q: %+v, want an error", out, got)
		}
	}
}
