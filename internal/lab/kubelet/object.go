// Package kubelet holds what the labs with a kubelet have in common: the objects
// that a scenario's workloads become, the stressor's image, the kubelet's
// configuration, and whose a pod's cgroup is.
package kubelet

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// WorkloadLabel has a pod's workload.
const WorkloadLabel = "oomlab.dev/workload"

const (
	// stateDir survives a restart of the container: so a stressor knows that it
	// was restarted. It is on the node's disk.
	stateDir = "/state"
	// tmpfsDir is the pod's emptyDir with medium Memory.
	tmpfsDir = "/tmpfs"
)

// PodSpec turns one pod of a workload into the object that the API server gets,
// or the kubelet itself. It names its node: the scheduler has no say. Its
// namespace is called as the node is.
func PodSpec(w scenarios.Workload, name, worker, image string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: worker, Labels: map[string]string{WorkloadLabel: w.Name}},
		Spec: corev1.PodSpec{
			NodeName:                      worker,
			RestartPolicy:                 corev1.RestartPolicy(w.RestartPolicy),
			TerminationGracePeriodSeconds: new(int64),
			AutomountServiceAccountToken:  new(bool),
			EnableServiceLinks:            new(bool),
			PriorityClassName:             PriorityClassName(w),
			Volumes: []corev1.Volume{{
				Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			}},
		},
	}
	if r := w.Resources; r != nil {
		pod.Spec.Resources = &corev1.ResourceRequirements{Requests: resourceList(r.Requests), Limits: resourceList(r.Limits)}
	}
	if e := w.EmptyDir; e != nil {
		volume := &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMedium(e.Medium)}
		if e.SizeLimit != nil {
			volume.SizeLimit = Quantity(e.SizeLimit.Bytes)
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "tmpfs", VolumeSource: corev1.VolumeSource{EmptyDir: volume}})
	}
	always := corev1.ContainerRestartPolicyAlways
	for _, c := range w.EachContainer() {
		object := containerSpec(w, c, image)
		switch c.Kind() {
		case qos.Sidecar:
			object.RestartPolicy = &always
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, object)
		case qos.Init:
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, object)
		default:
			pod.Spec.Containers = append(pod.Spec.Containers, object)
		}
	}
	return pod
}

func containerSpec(w scenarios.Workload, c scenarios.Container, image string) corev1.Container {
	dirs := lab.Dirs{State: stateDir, Disk: stateDir}
	mounts := []corev1.VolumeMount{{Name: "state", MountPath: stateDir, SubPath: c.Name}}
	if w.EmptyDir != nil {
		dirs.Tmpfs = tmpfsDir
		mounts = append(mounts, corev1.VolumeMount{Name: "tmpfs", MountPath: tmpfsDir})
	}
	object := corev1.Container{
		Name: c.Name, Image: image, ImagePullPolicy: corev1.PullNever, Args: lab.StressorArgs(c, dirs),
		Resources:    corev1.ResourceRequirements{Requests: resourceList(c.Requests), Limits: resourceList(c.Limits)},
		VolumeMounts: mounts,
	}
	if locks(c) {
		object.SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"IPC_LOCK"}}}
	}
	if p := c.LivenessProbe; p != nil {
		object.LivenessProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{StressorPath, "-below", p.MemoryBelow.String()}}},
			PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 5,
		}
	}
	return object
}

// locks reports whether the container's plan locks memory.
func locks(c scenarios.Container) bool {
	whole, err := c.Plan()
	return err == nil && slices.ContainsFunc(whole.Steps, func(s plan.Step) bool { return s.Kind == plan.Mlock })
}

func resourceList(r scenarios.Resources) corev1.ResourceList {
	list := corev1.ResourceList{}
	if r.Memory != nil {
		list[corev1.ResourceMemory] = *Quantity(r.Memory.Bytes)
	}
	if r.CPU != nil {
		list[corev1.ResourceCPU] = *resource.NewMilliQuantity(r.CPU.Millicores, resource.DecimalSI)
	}
	return list
}

// Quantity writes memory as Kubernetes does.
func Quantity(b mem.Bytes) *resource.Quantity {
	return resource.NewQuantity(int64(b), resource.BinarySI)
}

// PriorityClassName is that of the cluster's own class, or of the one made for
// the priority.
func PriorityClassName(w scenarios.Workload) string {
	if w.Priority != 0 {
		return fmt.Sprintf("oomlab-%d", w.Priority)
	}
	return w.PriorityClassName
}

// PriorityClass is the object for the workload's priority. Nobody is preempted
// for it.
func PriorityClass(w scenarios.Workload) *schedulingv1.PriorityClass {
	never := corev1.PreemptNever
	return &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{Name: PriorityClassName(w)}, Value: w.Priority, PreemptionPolicy: &never,
	}
}

// JobSpec turns a workload into a Job of one pod.
func JobSpec(w scenarios.Workload, worker, image string) *batchv1.Job {
	pod := PodSpec(w, w.Name, worker, image)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name, Namespace: worker, Labels: pod.Labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: &w.Job.BackoffLimit,
			Template:     corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}
}
