package kubelet

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/oomlab/oomlab/internal/kubestate"
	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// PodRecord returns what the record keeps of a pod.
func PodRecord(p *corev1.Pod) record.Pod {
	pod := kubestate.Status(p)
	pod.Name, pod.UID = OnNode(p)
	pod.Workload = p.Labels[WorkloadLabel]
	return pod
}

// Unsettled says what keeps a container of the pod from being as it should be
// before the pressure; "" if nothing does. logs returns what the container has
// printed, which is asked for once it runs.
func Unsettled(pod *corev1.Pod, c scenarios.Container, logs func() ([]byte, error)) (string, error) {
	if missing := notStarted(pod, c.Name); missing != "" {
		return missing, nil
	}
	settling, err := lab.SettlingOf(c)
	if err != nil {
		return "", err
	}
	text, err := logs()
	if err != nil {
		return "", fmt.Errorf("read its events: %w", err)
	}
	for line := range bytes.Lines(text) {
		if settled, err := settling.Event(line); settled || err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("its stressor does not hold yet; its last event: %s", lastLine(string(text))), nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// notStarted says why a container does not run.
func notStarted(pod *corev1.Pod, container string) string {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.Name != container {
			continue
		}
		switch {
		case s.State.Running != nil:
			return ""
		case s.State.Waiting != nil:
			return fmt.Sprintf("container %s waits: %s %s", container, s.State.Waiting.Reason, s.State.Waiting.Message)
		case s.State.Terminated != nil:
			return fmt.Sprintf("container %s ended: %s, exit code %d", container, s.State.Terminated.Reason, s.State.Terminated.ExitCode)
		}
	}
	return fmt.Sprintf("the kubelet has not started it: phase %s %s %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message)
}
