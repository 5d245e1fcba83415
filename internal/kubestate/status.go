package kubestate

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/oomlab/oomlab/internal/record"
)

// Status takes from a pod what its status tells of how it fared.
func Status(p *corev1.Pod) record.Pod {
	pod := record.Pod{
		Name: p.Name, Namespace: p.Namespace, UID: string(p.UID), Node: p.Spec.NodeName,
		QoSClass: string(p.Status.QOSClass), Phase: string(p.Status.Phase), Reason: p.Status.Reason, Message: p.Status.Message,
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Reason == corev1.PodReasonTerminationByKubelet && c.Status == corev1.ConditionTrue {
			pod.Terminated = c.Message
		}
		switch c.Type {
		case corev1.PodResizePending, corev1.PodResizeInProgress:
			pod.Resize = fmt.Sprintf("%s: %s: %s", c.Type, c.Reason, c.Message)
		}
	}
	once := map[string]bool{}
	for _, c := range p.Spec.InitContainers {
		once[c.Name] = c.RestartPolicy == nil
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
		c := containerStatus(s)
		c.Init = once[s.Name]
		pod.Containers = append(pod.Containers, c)
	}
	return pod
}

func containerStatus(s corev1.ContainerStatus) record.Container {
	c := record.Container{Name: s.Name, ID: s.ContainerID, RestartCount: int(s.RestartCount), Running: s.State.Running != nil}
	if s.State.Running != nil {
		c.Since = &s.State.Running.StartedAt.Time
	}
	if s.State.Waiting != nil {
		c.Waiting = s.State.Waiting.Reason
	}
	c.Ended, c.Previous = ended(s.State.Terminated), ended(s.LastTerminationState.Terminated)
	if c.Ended == nil {
		c.Ended, c.Previous = c.Previous, nil
	}
	return c
}

func ended(t *corev1.ContainerStateTerminated) *record.Termination {
	if t == nil {
		return nil
	}
	return &record.Termination{
		Reason: t.Reason, ExitCode: int(t.ExitCode), Started: t.StartedAt.Time, Finished: t.FinishedAt.Time,
		Message: t.Message, ContainerID: bareID(t.ContainerID),
	}
}
