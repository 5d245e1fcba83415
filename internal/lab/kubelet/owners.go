package kubelet

import (
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// Owners knows whose a cgroup is, by the pods' UIDs and the containers' ids. It
// is told of every change: once a container is gone, nobody can be asked.
type Owners struct {
	cgroup string // the node's

	mu         sync.Mutex
	pods       map[string]record.Owner // by UID
	containers map[string]string       // name by id
}

// NewOwners returns those of a node, which has this cgroup.
func NewOwners(cgroup string) *Owners {
	return &Owners{cgroup: cgroup, pods: map[string]record.Owner{}, containers: map[string]string{}}
}

// Note takes what there is to know of a pod.
func (o *Owners) Note(pod *corev1.Pod) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name, uid := OnNode(pod)
	o.pods[uid] = record.Owner{Workload: pod.Labels[WorkloadLabel], Pod: name, Level: qos.LevelPod}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		for _, ref := range []string{s.ContainerID, lastID(s.State), lastID(s.LastTerminationState)} {
			if _, id, started := strings.Cut(ref, "://"); started {
				o.containers[id] = s.Name
			}
		}
	}
}

// lastID is the container that ended: one that could not be started is never
// the pod's present one.
func lastID(s corev1.ContainerState) string {
	if s.Terminated == nil {
		return ""
	}
	return s.Terminated.ContainerID
}

// Of says whose a cgroup is.
func (o *Owners) Of(cgroup string) record.Owner {
	rest, ok := strings.CutPrefix(cgroup, o.cgroup)
	if !ok || rest != "" && rest[0] != '/' {
		return record.Owner{Level: record.Outside}
	}
	path, ok := qos.ParseCgroupPath(cgroup)
	if !ok {
		return record.Owner{Level: qos.LevelNode}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	owner, known := o.pods[path.PodUID]
	if !known {
		return record.Owner{Level: path.Level}
	}
	owner.Level = path.Level
	owner.Container = o.containers[path.ContainerID]
	return owner
}
