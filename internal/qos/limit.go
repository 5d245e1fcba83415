package qos

import "github.com/oomlab/oomlab/internal/mem"

// Limits are the memory files of one cgroup as the kubelet leaves them. An
// absent limit means that it does not write the file, so that the kernel's
// default stands: max for the upper bounds, 0 for the protections.
type Limits struct {
	Max      mem.Limit `json:"maxBytes,omitzero"`     // memory.max, or memory.limit_in_bytes
	High     mem.Limit `json:"highBytes,omitzero"`    // memory.high, cgroup v2 only
	Low      mem.Limit `json:"lowBytes,omitzero"`     // memory.low, cgroup v2 only
	Min      mem.Limit `json:"minBytes,omitzero"`     // memory.min, cgroup v2 only
	SwapMax  mem.Limit `json:"swapMaxBytes,omitzero"` // memory.swap.max, cgroup v2 only
	OOMGroup bool      `json:"oomGroup,omitempty"`    // memory.oom.group, cgroup v2 only
}

// KubepodsLimits returns the limits of the cgroup of all pods.
func (n Node) KubepodsLimits(pods []Pod) Limits {
	limit := n.Allocatable()
	if n.PodsNotEnforced {
		limit = n.Capacity
	}
	return Limits{Max: mem.LimitOf(limit)}
}

// PodLimits returns the limits of a pod's cgroup: a memory.max only if the pod
// has a memory limit of its own or all of its containers have one
// (ResourceConfigForPod, pkg/kubelet/cm).
func (n Node) PodLimits(p Pod) Limits {
	var l Limits
	if n.podIsLimited(p) {
		l.Max = limitOf(p.podLimit(n.Version).Memory)
	}
	return l
}

// ContainerLimits returns the limits of a container's cgroup. A container
// without a limit inherits the pod-level one.
func (n Node) ContainerLimits(p Pod, c Container) Limits {
	limit := c.Limits.Memory
	if limit == 0 && n.Version.podLevelResources() && p.Resources != nil {
		limit = p.Resources.Limits.Memory
	}
	l := Limits{Max: limitOf(limit)}
	if n.unified() {
		l.OOMGroup = n.Version >= 28 && (n.SingleProcessOOMKill == nil || !*n.SingleProcessOOMKill)
	}
	return l
}

func (n Node) podIsLimited(p Pod) bool {
	if ClassOf(p, n.Version) == BestEffort {
		return false
	}
	if n.Version.podLevelResources() && p.Resources != nil && p.Resources.Limits.Memory > 0 {
		return true
	}
	for _, c := range p.Containers {
		if c.Kind != Ephemeral && c.Limits.Memory == 0 {
			return false
		}
	}
	return true
}

func (n Node) unified() bool { return n.CgroupVersion != 1 }

func limitOf(b mem.Bytes) mem.Limit {
	if b == 0 {
		return mem.Limit{}
	}
	return mem.LimitOf(b)
}
