package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

func TestOwners(t *testing.T) {
	o := NewOwners("/node")
	const uid = "0a1b2c3d-0000-4000-8000-000000000001"
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "burstable", UID: uid, Labels: map[string]string{WorkloadLabel: "burstable"}}}
	// As the API server tells: first without an id, then with one.
	for _, id := range []string{"", "containerd://c0ffee"} {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: id}}
		o.Note(pod.DeepCopy())
	}
	// A container that could not be started was never there at a look.
	last := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: "containerd://dead"}}
	pod.Status.ContainerStatuses[0].LastTerminationState = last
	o.Note(pod.DeepCopy())
	for cgroup, want := range map[string]record.Owner{
		"/node":                            {Level: qos.LevelNode},
		"/node/kubelet/kubepods":           {Level: qos.LevelKubepods},
		"/node/kubelet/kubepods/pod" + uid: {Level: qos.LevelPod, Workload: "burstable", Pod: "burstable"},
		"/node/kubelet/kubepods/pod" + uid + "/c0ffee": {Level: qos.LevelContainer, Workload: "burstable", Pod: "burstable", Container: "main"},
		"/node/kubelet/kubepods/pod" + uid + "/dead":   {Level: qos.LevelContainer, Workload: "burstable", Pod: "burstable", Container: "main"},
		"/node/kubelet/kubepods/podother":              {Level: qos.LevelPod},
		"/nodes":                                       {Level: record.Outside},
	} {
		if diff := cmp.Diff(want, o.Of(cgroup)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", cgroup, diff)
		}
	}
}
