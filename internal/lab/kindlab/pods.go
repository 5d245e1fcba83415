package kindlab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// Pods returns the scenario's pods as the API server has them.
func (n *node) Pods(ctx context.Context) ([]record.Pod, error) {
	list, err := n.cluster.Client.CoreV1().Pods(n.worker).List(ctx, metav1.ListOptions{LabelSelector: kubelet.WorkloadLabel})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", n.worker, err)
	}
	var pods []record.Pod
	for i := range list.Items {
		pods = append(pods, kubelet.PodRecord(&list.Items[i]))
	}
	return pods, nil
}

// Jobs returns the scenario's Jobs.
func (n *node) Jobs(ctx context.Context) ([]record.Job, error) {
	list, err := n.cluster.Client.BatchV1().Jobs(n.worker).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list jobs of %s: %w", n.worker, err)
	}
	var jobs []record.Job
	for _, j := range list.Items {
		job := record.Job{Workload: j.Labels[kubelet.WorkloadLabel], FailedPods: int(j.Status.Failed)}
		for _, c := range j.Status.Conditions {
			if c.Status == corev1.ConditionTrue && c.Type == batchv1.JobFailed {
				job.Failed, job.Reason = true, c.Reason
			}
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// Resize gives the only container of a workload's pods another memory limit,
// in place.
func (n *node) Resize(ctx context.Context, r scenarios.Resize) error {
	w, ok := n.scenario.Workload(r.Workload)
	if !ok {
		return fmt.Errorf("resize: no workload is called %s", r.Workload)
	}
	pods := n.cluster.Client.CoreV1().Pods(n.worker)
	for _, name := range w.PodNames() {
		pod, err := pods.Get(ctx, n.apiName(name), metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("resize pod %s: %w", name, err)
		}
		resources := &pod.Spec.Containers[0].Resources
		if resources.Limits == nil {
			resources.Limits = corev1.ResourceList{}
		}
		resources.Limits[corev1.ResourceMemory] = *kubelet.Quantity(r.Limit.Bytes)
		if _, err := pods.UpdateResize(ctx, name, pod, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("resize pod %s: %w", name, err)
		}
	}
	return nil
}

// removeAll deletes every Job and pod of the scenario, or of some of its
// workloads.
func (n *node) removeAll(ctx context.Context, workloads ...string) error {
	selector := metav1.ListOptions{LabelSelector: kubelet.WorkloadLabel}
	if len(workloads) > 0 {
		selector.LabelSelector += " in (" + strings.Join(workloads, ",") + ")"
	}
	gone := n.scenario.Workloads
	if len(workloads) > 0 {
		gone = slices.DeleteFunc(slices.Clone(gone), func(w scenarios.Workload) bool { return !slices.Contains(workloads, w.Name) })
	}
	if err := n.removeManifests(ctx, gone); err != nil {
		return err
	}
	// A Job that is still there would make another pod.
	orphan := metav1.DeletePropagationOrphan
	if err := n.cluster.Client.BatchV1().Jobs(n.worker).DeleteCollection(ctx, metav1.DeleteOptions{PropagationPolicy: &orphan}, selector); err != nil {
		return fmt.Errorf("delete jobs of %s: %w", n.worker, err)
	}
	list, err := n.cluster.Client.CoreV1().Pods(n.worker).List(ctx, selector)
	if err != nil {
		return fmt.Errorf("list pods of %s: %w", n.worker, err)
	}
	var names []string
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	return n.removePods(ctx, names...)
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
		err := kubelet.Poll(ctx, 100*time.Millisecond, func(ctx context.Context) (string, error) {
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
