package kubelet

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// mirrorOf is the annotation with a static pod's UID on the node. The API server
// has a mirror of it, whose UID is another one.
const mirrorOf = "kubernetes.io/config.hash"

// Manifest writes a pod as the file that makes it a static one.
func Manifest(pod *corev1.Pod) ([]byte, error) {
	pod.APIVersion, pod.Kind = corev1.SchemeGroupVersion.String(), "Pod"
	text, err := yaml.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("write the manifest of static pod %s: %w", pod.Name, err)
	}
	return text, nil
}

// OnNode returns the name and the UID that the node itself uses for a pod.
func OnNode(p *corev1.Pod) (name, uid string) {
	if hash, static := p.Annotations[mirrorOf]; static {
		return strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName), hash
	}
	return p.Name, string(p.UID)
}
