package kindlab

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab/internal/patience"
)

// hostNeeds is what a cluster's configuration depends on.
type hostNeeds struct {
	cgroupVersion int
	// restrictAdj: oom_score_adj can't be lowered here, so containerd must not
	// try, or no container starts.
	restrictAdj bool
}

// clusterConfig adds to the kind configuration of o what oomlab and the host
// need. dir is where each worker finds its /proc/meminfo: DIR/NODE/meminfo.
func clusterConfig(o Options, dir string, host hostNeeds) (*v1alpha4.Cluster, error) {
	var config v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(o.Config, &config); err != nil {
		return nil, fmt.Errorf("kind-config.yaml: %w", err)
	}
	config.Name = o.Name
	if len(workerNames(o.Name, config.Nodes)) == 0 {
		return nil, errors.New("kind-config.yaml: no node has the role worker: add one, scenarios run there")
	}
	if len(o.WorkerImages) > 0 {
		config.Nodes = withWorkers(config.Nodes, len(o.WorkerImages))
	}
	names, images := workerNames(o.Name, config.Nodes), o.WorkerImages
	for i := range config.Nodes {
		node := &config.Nodes[i]
		node.Image = o.Image
		if node.Role == v1alpha4.WorkerRole {
			if len(images) > 0 {
				node.Image, images = images[0], images[1:]
			}
			node.ExtraMounts = append(node.ExtraMounts, v1alpha4.Mount{
				HostPath: filepath.Join(dir, names[0], "meminfo"), ContainerPath: "/proc/meminfo", Readonly: true,
			})
			names = names[1:]
		}
	}
	if host.cgroupVersion == 1 {
		// Kubelets from 1.35 on refuse cgroup v1 unless told otherwise (KEP-5573).
		config.KubeadmConfigPatches = append(config.KubeadmConfigPatches, "kind: KubeletConfiguration\nfailCgroupV1: false\n")
	}
	if patience.Needed() {
		config.KubeadmConfigPatches = append(config.KubeadmConfigPatches, patientKubeadm()...)
	}
	if host.restrictAdj {
		// For the configuration of containerd 2 (version 3) and of 1.7 (version 2).
		config.ContainerdConfigPatches = append(config.ContainerdConfigPatches,
			"[plugins.\"io.containerd.cri.v1.runtime\"]\nrestrict_oom_score_adj = true\n",
			"[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\n")
	}
	return &config, nil
}

// patientKubeadm stretches what kubeadm waits for, from its defaults
// (cmd/kubeadm/app/constants).
func patientKubeadm() []string {
	var patches []string
	for _, kind := range []string{"InitConfiguration", "JoinConfiguration"} {
		patches = append(patches, fmt.Sprintf("kind: %s\ntimeouts:\n  controlPlaneComponentHealthCheck: %s\n  kubeletHealthCheck: %s\n  kubernetesAPICall: %s\n  etcdAPICall: %s\n  tlsBootstrap: %s\n  discovery: %s\n",
			kind, patience.With(4*time.Minute), patience.With(4*time.Minute), patience.With(time.Minute),
			patience.With(2*time.Minute), patience.With(5*time.Minute), patience.With(5*time.Minute)))
	}
	return patches
}

// withWorkers returns the nodes with n workers, each as the first one is.
func withWorkers(nodes []v1alpha4.Node, n int) []v1alpha4.Node {
	isWorker := func(node v1alpha4.Node) bool { return node.Role == v1alpha4.WorkerRole }
	first := nodes[slices.IndexFunc(nodes, isWorker)]
	nodes = slices.DeleteFunc(nodes, isWorker)
	for range n {
		nodes = append(nodes, *first.DeepCopy())
	}
	return nodes
}

// workerNames returns the names that kind gives to the workers of a cluster:
// NAME-worker, NAME-worker2 …
func workerNames(cluster string, nodes []v1alpha4.Node) []string {
	var names []string
	for _, n := range nodes {
		if n.Role != v1alpha4.WorkerRole {
			continue
		}
		name := cluster + "-worker"
		if len(names) > 0 {
			name += fmt.Sprint(len(names) + 1)
		}
		names = append(names, name)
	}
	return names
}
