package kindlab

import (
	"context"
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/scenarios"
)

// A static pod is a file on the node.
const manifests = "/etc/kubernetes/manifests"

func manifest(pod string) string { return path.Join(manifests, "oomlab-"+pod+".yaml") }

// writeManifest makes the kubelet start a static pod.
func (n *node) writeManifest(pod *corev1.Pod) error {
	node, err := n.cluster.kindNode(n.worker)
	if err != nil {
		return err
	}
	text, err := kubelet.Manifest(pod)
	if err != nil {
		return err
	}
	if err := nodeutils.WriteFile(node, manifest(pod.Name), string(text)); err != nil {
		return fmt.Errorf("write the manifest of static pod %s: %w", pod.Name, err)
	}
	return nil
}

// removeManifests makes the kubelet end the static pods of these workloads, or
// of all.
func (n *node) removeManifests(ctx context.Context, workloads []scenarios.Workload) error {
	var files []string
	for _, w := range workloads {
		if !w.Static {
			continue
		}
		for _, pod := range w.PodNames() {
			files = append(files, manifest(pod))
		}
	}
	if len(files) == 0 {
		return nil
	}
	node, err := n.cluster.kindNode(n.worker)
	if err != nil {
		return err
	}
	if err := node.CommandContext(ctx, "rm", append([]string{"-f"}, files...)...).Run(); err != nil {
		return fmt.Errorf("remove the static pods of %s: %w", n.worker, err)
	}
	return nil
}

// apiName is what the API server calls a pod of the scenario: the mirror of a
// static pod has the node's name at its end.
func (n *node) apiName(pod string) string {
	for _, w := range n.scenario.Workloads {
		for _, name := range w.PodNames() {
			if w.Static && name == pod {
				return pod + "-" + n.worker
			}
		}
	}
	return pod
}
