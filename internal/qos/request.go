package qos

import "github.com/oomlab/oomlab/internal/mem"

// PodRequest returns what the kubelet takes as the pod's memory and CPU
// request: the pod-level one where it is set, else what its containers need at
// their busiest, plus the overhead (PodRequests, component-helpers/resource).
func (p Pod) PodRequest(v Version) Resources {
	sum := p.containerSum(requestsOf)
	if v.podLevelResources() && p.Resources != nil {
		sum = sum.overriddenBy(p.Resources.Requests)
	}
	return sum.plus(p.Overhead)
}

// EvictionRequest returns the memory request that the kubelet's eviction
// subtracts from a pod's usage. It is not PodRequest: overhead counts only on
// top of a request, any pod-level resource hides the containers' requests, and
// up to 1.33 sidecars were not added (GetResourceRequestQuantity,
// pkg/api/v1/resource).
func (p Pod) EvictionRequest(v Version) mem.Bytes {
	var request mem.Bytes
	switch {
	case v < 34:
		var first mem.Bytes
		for _, c := range p.Containers {
			switch c.Kind {
			case Regular:
				request += c.Requests.Memory
			case Init, Sidecar:
				first = max(first, c.Requests.Memory)
			}
		}
		request = max(request, first)
	case p.hasPodLevel():
		request = p.Resources.Requests.Memory
	default:
		request = p.containerSum(requestsOf).Memory
	}
	if request > 0 {
		request += p.Overhead.Memory
	}
	return request
}

// podLimit is the same for limits; overhead is added only to a limit that
// exists (PodLimits, component-helpers/resource).
func (p Pod) podLimit(v Version) Resources {
	sum := p.containerSum(limitsOf)
	if v.podLevelResources() && p.Resources != nil {
		sum = sum.overriddenBy(p.Resources.Limits)
	}
	if sum.Memory > 0 {
		sum.Memory += p.Overhead.Memory
	}
	if sum.CPU > 0 {
		sum.CPU += p.Overhead.CPU
	}
	return sum
}

func requestsOf(c Container) Resources { return c.Requests }
func limitsOf(c Container) Resources   { return c.Limits }

// containerSum adds up the containers that run together. Regular containers and
// sidecars run until the end; an init container runs with the sidecars before
// it, and the largest of those moments counts too (KEP-753).
func (p Pod) containerSum(of func(Container) Resources) Resources {
	var running, sidecars, starting Resources
	for _, c := range p.Containers {
		switch r := of(c); c.Kind {
		case Regular:
			running = running.plus(r)
		case Sidecar:
			running = running.plus(r)
			sidecars = sidecars.plus(r)
			starting = starting.max(sidecars)
		case Init:
			starting = starting.max(sidecars.plus(r))
		}
	}
	return running.max(starting)
}

func (r Resources) plus(o Resources) Resources {
	return Resources{Memory: r.Memory + o.Memory, CPU: r.CPU + o.CPU}
}

func (r Resources) max(o Resources) Resources {
	return Resources{Memory: max(r.Memory, o.Memory), CPU: max(r.CPU, o.CPU)}
}

// overriddenBy returns o where it is set and r elsewhere.
func (r Resources) overriddenBy(o Resources) Resources {
	if o.Memory == 0 {
		o.Memory = r.Memory
	}
	if o.CPU == 0 {
		o.CPU = r.CPU
	}
	return o
}
