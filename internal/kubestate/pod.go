package kubestate

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

// Annotations that the kubelet gives to static pods and their mirrors.
const (
	configSource = "kubernetes.io/config.source"
	configMirror = "kubernetes.io/config.mirror"
	configHash   = "kubernetes.io/config.hash"
)

// podOf takes from a pod what decides its fate.
func podOf(p *corev1.Pod) explain.Pod {
	out := explain.Pod{
		Pod: qos.Pod{
			Namespace: p.Namespace, Name: p.Name, UID: string(p.UID),
			PriorityClass: p.Spec.PriorityClassName, StatusClass: qos.Class(p.Status.QOSClass),
			Overhead: resourcesOf(p.Spec.Overhead),
		},
		Node: p.Spec.NodeName, ContainerIDs: map[string][]string{}, ConfigHash: p.Annotations[configHash], Status: Status(p),
	}
	if p.Spec.Priority != nil {
		out.Priority = *p.Spec.Priority
	}
	if r := p.Spec.Resources; r != nil {
		out.Resources = &qos.Requirements{Requests: resourcesOf(r.Requests), Limits: resourcesOf(r.Limits)}
	}
	_, out.Mirror = p.Annotations[configMirror]
	source := p.Annotations[configSource]
	out.Static = source != "" && source != "api"
	for _, c := range p.Spec.InitContainers {
		kind := qos.Init
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			kind = qos.Sidecar
		}
		out.Containers = append(out.Containers, containerOf(c.Name, kind, c.Resources))
	}
	for _, c := range p.Spec.Containers {
		out.Containers = append(out.Containers, containerOf(c.Name, qos.Regular, c.Resources))
	}
	for _, c := range p.Spec.EphemeralContainers {
		out.Containers = append(out.Containers, containerOf(c.Name, qos.Ephemeral, c.Resources))
	}
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for _, status := range list {
			out.ContainerIDs[status.Name] = idsOf(status)
		}
	}
	return out
}

func containerOf(name string, kind qos.Kind, r corev1.ResourceRequirements) qos.Container {
	return qos.Container{Name: name, Kind: kind, Requirements: qos.Requirements{Requests: resourcesOf(r.Requests), Limits: resourcesOf(r.Limits)}}
}

func resourcesOf(list corev1.ResourceList) qos.Resources {
	return qos.Resources{Memory: mem.Bytes(list.Memory().Value()), CPU: qos.MilliCPU(list.Cpu().MilliValue())}
}

// idsOf returns the ids of the container that runs and of those that ended, as
// far as the status remembers them. They are written "containerd://ID".
func idsOf(s corev1.ContainerStatus) []string {
	var ids []string
	add := func(id string) {
		if id := bareID(id); id != "" {
			ids = append(ids, id)
		}
	}
	add(s.ContainerID)
	for _, state := range []corev1.ContainerState{s.State, s.LastTerminationState} {
		if state.Terminated != nil {
			add(state.Terminated.ContainerID)
		}
	}
	return ids
}

// bareID takes the runtime's name off "containerd://ID".
func bareID(id string) string {
	_, id, _ = strings.Cut(id, "://")
	return id
}
