package kindlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

const (
	workloadLabel = "oomlab.dev/workload"
	// stateDir survives a restart of the container: so a stressor knows that it
	// was restarted.
	stateDir = "/state"
)

// podSpec turns one pod of a workload into the object that the API server gets.
// It names its node: the scheduler has no say.
func podSpec(w scenarios.Workload, name, worker, image string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: worker, Labels: map[string]string{workloadLabel: w.Name}},
		Spec: corev1.PodSpec{
			NodeName:                      worker,
			RestartPolicy:                 corev1.RestartPolicy(w.RestartPolicy),
			TerminationGracePeriodSeconds: new(int64),
			AutomountServiceAccountToken:  new(bool),
			EnableServiceLinks:            new(bool),
			Volumes: []corev1.Volume{{
				Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			}},
		},
	}
	if r := w.Resources; r != nil {
		pod.Spec.Resources = &corev1.ResourceRequirements{Requests: resourceList(r.Requests), Limits: resourceList(r.Limits)}
	}
	for _, c := range w.EachContainer() {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: c.Name, Image: image, ImagePullPolicy: corev1.PullNever,
			Args:         lab.StressorArgs(c, stateDir),
			Resources:    corev1.ResourceRequirements{Requests: resourceList(c.Requests), Limits: resourceList(c.Limits)},
			VolumeMounts: []corev1.VolumeMount{{Name: "state", MountPath: stateDir, SubPath: c.Name}},
		})
	}
	return pod
}

func resourceList(r scenarios.Resources) corev1.ResourceList {
	list := corev1.ResourceList{}
	if r.Memory != nil {
		list[corev1.ResourceMemory] = *resource.NewQuantity(int64(r.Memory.Bytes), resource.BinarySI)
	}
	if r.CPU != nil {
		list[corev1.ResourceCPU] = *resource.NewMilliQuantity(r.CPU.Millicores, resource.DecimalSI)
	}
	return list
}

// podStartTimeout bounds the start of a pod and the time its balloon takes.
const podStartTimeout = time.Minute

// Start makes the pods and waits until each balloon holds.
func (n *node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, podStartTimeout)
	defer cancel()
	pods := n.cluster.Client.CoreV1().Pods(n.worker)
	for _, w := range n.scenario.Workloads {
		for _, name := range w.PodNames() {
			if _, err := pods.Create(ctx, podSpec(w, name, n.worker, n.image), metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create pod %s: %w", name, err)
			}
		}
	}
	for _, w := range n.scenario.Workloads {
		for _, name := range w.PodNames() {
			for _, c := range w.EachContainer() {
				if err := n.waitHolding(ctx, name, c); err != nil {
					return fmt.Errorf("wait for pod %s: %w", name, err)
				}
			}
		}
	}
	return nil
}

// waitHolding waits until the stressor says that it holds its balloon and, if
// it presses, awaits the pressure.
func (n *node) waitHolding(ctx context.Context, pod string, c scenarios.Container) error {
	fromStart, err := lab.SettlingOf(c)
	if err != nil {
		return err
	}
	return poll(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		object, err := n.cluster.Client.CoreV1().Pods(n.worker).Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if missing := notStarted(object, c.Name); missing != "" {
			return missing, nil
		}
		logs, err := n.cluster.Client.CoreV1().Pods(n.worker).GetLogs(pod, &corev1.PodLogOptions{Container: c.Name}).DoRaw(ctx)
		if err != nil {
			return "", fmt.Errorf("read its events: %w", err)
		}
		settling := fromStart
		for line := range bytes.Lines(logs) {
			if settled, err := settling.Event(line); settled || err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("its stressor does not hold yet; its last event: %s", lastLine(string(logs))), nil
	})
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// notStarted says why a container does not run.
func notStarted(pod *corev1.Pod, container string) string {
	for _, s := range pod.Status.ContainerStatuses {
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

// Pods returns the scenario's pods as the API server has them.
func (n *node) Pods(ctx context.Context) ([]record.Pod, error) {
	list, err := n.cluster.Client.CoreV1().Pods(n.worker).List(ctx, metav1.ListOptions{LabelSelector: workloadLabel})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", n.worker, err)
	}
	var pods []record.Pod
	for i := range list.Items {
		pods = append(pods, podRecord(&list.Items[i]))
	}
	return pods, nil
}

func podRecord(p *corev1.Pod) record.Pod {
	pod := record.Pod{
		Name: p.Name, Workload: p.Labels[workloadLabel], UID: string(p.UID), Node: p.Spec.NodeName,
		QoSClass: string(p.Status.QOSClass), Phase: string(p.Status.Phase), Reason: p.Status.Reason, Message: p.Status.Message,
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Reason == corev1.PodReasonTerminationByKubelet && c.Status == corev1.ConditionTrue {
			pod.Terminated = c.Message
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		c := record.Container{Name: s.Name, ID: s.ContainerID, RestartCount: int(s.RestartCount), Running: s.State.Running != nil}
		if s.State.Running != nil {
			c.Since = &s.State.Running.StartedAt.Time
		}
		ended := s.State.Terminated
		if ended == nil {
			ended = s.LastTerminationState.Terminated
		}
		if ended != nil {
			c.Ended = &record.Termination{
				Reason: ended.Reason, ExitCode: int(ended.ExitCode),
				Started: ended.StartedAt.Time, Finished: ended.FinishedAt.Time,
			}
		}
		pod.Containers = append(pod.Containers, c)
	}
	return pod
}

// removePods deletes pods of the worker and waits until they are gone.
func (n *node) removePods(ctx context.Context, names ...string) error {
	pods := n.cluster.Client.CoreV1().Pods(n.worker)
	var errs []error
	for _, name := range names {
		err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete pod %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, name := range names {
		err := poll(ctx, 100*time.Millisecond, func(ctx context.Context) (string, error) {
			if _, err := pods.Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
				return "", nil
			} else if err != nil {
				return "", err
			}
			return "pod " + name + " is still there", nil
		})
		if err != nil {
			return fmt.Errorf("delete pods: %w", err)
		}
	}
	return nil
}
