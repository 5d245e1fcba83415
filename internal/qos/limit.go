package qos

import "github.com/oomlab/oomlab/internal/mem"

// Limits are the memory files of one cgroup as the kubelet leaves them. An
// absent limit is the kernel's default: max for the upper bounds, 0 for the
// protections.
type Limits struct {
	Max      mem.Limit `json:"maxBytes,omitzero"`  // memory.max; v1 memory.limit_in_bytes
	High     mem.Limit `json:"highBytes,omitzero"` // memory.high, v2 only
	Low      mem.Limit `json:"lowBytes,omitzero"`  // memory.low, v2 only
	Min      mem.Limit `json:"minBytes,omitzero"`  // memory.min, v2 only
	OOMGroup bool      `json:"oomGroup,omitempty"` // memory.oom.group, v2 only
	Swap     mem.Limit `json:"swapBytes,omitzero"` // memory.swap.max; v1 memory.memsw.limit_in_bytes less Max
}

// KubepodsLimits returns the limits of the cgroup of all pods, which the
// kubelet refreshes every minute as pods come and go
// (enforceNodeAllocatableCgroups, pkg/kubelet/cm).
func (n Node) KubepodsLimits(pods []Pod) Limits {
	l := Limits{Max: limitOf(n.Allocatable())}
	if n.PodsNotEnforced {
		l.Max = limitOf(n.Capacity)
	}
	guaranteed, burstable := n.requestsOf(pods, Guaranteed), n.requestsOf(pods, Burstable)
	switch n.protection() {
	case hard:
		l.Min = limitOf(guaranteed + burstable)
	case tiered:
		l.Min, l.Low = limitOf(guaranteed+burstable), limitOf(burstable)
	}
	return l
}

// ClassLimits returns the limits of the parent of all pods of a class. Without
// the alpha gate QOSReserved it has no upper bound of its own.
func (n Node) ClassLimits(c Class, pods []Pod) Limits {
	switch c {
	case Guaranteed:
		return n.KubepodsLimits(pods)
	case Burstable:
		return n.protect(limitOf(n.requestsOf(pods, c)), c)
	}
	return Limits{}
}

// PodLimits returns the limits of a pod's cgroup: an upper bound only if the
// pod has a memory limit of its own or all of its containers have one
// (ResourceConfigForPod, pkg/kubelet/cm).
func (n Node) PodLimits(p Pod) Limits {
	request, limit := p.PodRequest(n.Version).Memory, p.podLimit(n.Version).Memory
	class, declared := ClassOf(p, n.Version), p.limitsDeclared(n.Version)
	l := n.protect(limitOf(request), class)
	if class == Guaranteed || class == Burstable && declared {
		l.Max = limitOf(limit)
	}
	if n.Version >= 37 && p.hasPodLevel() && declared {
		l.High = n.high(request, limit)
	}
	return l
}

// ContainerLimits returns the limits of a container's cgroup. Without a limit
// of its own it inherits the pod-level one (generateLinuxContainerResources,
// pkg/kubelet/kuberuntime).
func (n Node) ContainerLimits(p Pod, c Container) Limits {
	inherited := mem.Bytes(0)
	if n.Version.podLevelResources() && p.Resources != nil && c.Limits.Memory == 0 {
		inherited = p.Resources.Limits.Memory
	}
	request, limit := c.Requests.Memory, c.Limits.Memory
	l := n.protect(limitOf(request), ClassOf(p, n.Version))
	l.Max = limitOf(limit + inherited)
	l.Swap = n.swap(p, c)
	l.OOMGroup = n.groupKill()
	switch {
	case n.Version >= 37 && inherited > 0:
		// The pod's memory.high does it for all of its containers.
	case limit > 0:
		l.High = n.high(request, limit)
	case request > 0 || n.Version >= 37:
		l.High = n.high(request, n.Allocatable())
	}
	return l
}

// groupKill tells whether one OOM kill takes the whole container: on cgroup v2
// since 1.28, unless singleProcessOOMKill (1.32) says no.
func (n Node) groupKill() bool {
	single := n.Version >= 32 && n.SingleProcessOOMKill != nil && *n.SingleProcessOOMKill
	return n.unified() && n.Version >= 28 && !single
}

// limitsDeclared tells whether nothing in the pod may grow without a limit. Up
// to 1.36 the limit of a sidecar passed for one of the init containers and
// sidecars after it (the ContainerFn of PodLimits saw their running sum).
func (p Pod) limitsDeclared(v Version) bool {
	if v.podLevelResources() && p.Resources != nil && p.Resources.Limits.Memory > 0 {
		return true
	}
	var sidecars mem.Bytes
	for _, c := range p.Containers {
		switch limit := c.Limits.Memory; {
		case c.Kind == Ephemeral:
		case limit == 0 && (c.Kind == Regular || v >= 37 || sidecars == 0):
			return false
		case c.Kind == Sidecar:
			sidecars += limit
		}
	}
	return true
}

// swap is what a container may swap out: a share of the node's swap as large as
// its share of the node's memory, only for Burstable containers whose request
// differs from the limit (GetContainerSwapBehavior, pkg/kubelet/kuberuntime).
func (n Node) swap(p Pod, c Container) mem.Limit {
	none := mem.LimitOf(0)
	switch {
	case !n.unified():
		// memory+swap is limited to the memory limit, so only where there is one.
		if n.Version < 28 || c.Limits.Memory == 0 {
			return mem.Limit{}
		}
		return none
	case n.Version < 28:
		return mem.Limit{} // gate NodeSwap off: the kubelet writes nothing
	case !n.LimitedSwap,
		n.Version >= 31 && p.IsCritical(),
		ClassOf(p, n.Version) != Burstable,
		c.Requests.Memory == c.Limits.Memory,
		c.Requests.Memory > n.Capacity:
		return none
	}
	share := float64(c.Requests.Memory) / float64(n.Capacity)
	return mem.LimitOf(mem.Bytes(share * float64(n.SwapCapacity)))
}

func (n Node) unified() bool { return n.CgroupVersion != 1 }

// hasPodLevel is IsPodLevelResourcesSet of component-helpers/resource.
func (p Pod) hasPodLevel() bool {
	return p.Resources != nil && *p.Resources != (Requirements{})
}

func limitOf(b mem.Bytes) mem.Limit {
	if b == 0 {
		return mem.Limit{}
	}
	return mem.LimitOf(b)
}
