package kindlab

import (
	"context"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab/scenarios"
)

// A static pod is a file on the node. The API server has a mirror of it, whose
// name and UID are others than those that the node uses.
const (
	manifests = "/etc/kubernetes/manifests"
	mirrorOf  = "kubernetes.io/config.hash" // the annotation with the UID on the node
)

func manifest(pod string) string { return path.Join(manifests, "oomlab-"+pod+".yaml") }

// writeManifest makes the kubelet start a static pod.
func (n *node) writeManifest(pod *corev1.Pod) error {
	node, err := n.cluster.kindNode(n.worker)
	if err != nil {
		return err
	}
	pod.APIVersion, pod.Kind = corev1.SchemeGroupVersion.String(), "Pod"
	text, err := yaml.Marshal(pod)
	if err != nil {
		return fmt.Errorf("write the manifest of static pod %s: %w", pod.Name, err)
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

// onNode returns the name and the UID that the node itself uses for a pod.
func onNode(p *corev1.Pod) (name, uid string) {
	if hash, static := p.Annotations[mirrorOf]; static {
		return strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName), hash
	}
	return p.Name, string(p.UID)
}
