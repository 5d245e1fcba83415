package qos

import (
	"cmp"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
)

// Load is the memory that the parts of a node want, each of them growing from
// what it holds to its peak.
type Load struct {
	// System is everything outside of kubepods: kubelet, runtime, shims.
	System Growth    `json:"system,omitzero"`
	Pods   []PodLoad `json:"pods"`
}

// PodLoad is the memory that one pod wants.
type PodLoad struct {
	Pod Pod `json:"pod"`
	// Containers has one Growth for each of Pod.Containers, in their order.
	Containers []Growth `json:"containers"`
	// Base is charged to the pod's cgroup but to no container of it: the pause
	// container, kernel memory.
	Base mem.Bytes `json:"baseBytes,omitempty"`
}

// Growth is charged memory that cannot be reclaimed, at the start and at most.
type Growth struct {
	Held mem.Bytes `json:"heldBytes"`
	Peak mem.Bytes `json:"peakBytes"`
}

// Domain is a cgroup (or the machine) that runs out of memory.
type Domain struct {
	Level     Level     `json:"level"`
	Pod       string    `json:"pod,omitempty"`
	Container string    `json:"container,omitempty"`
	Limit     mem.Bytes `json:"limitBytes"`
	Growth
	// At is the part of the growth, 0 to 1, after which the limit is reached.
	At float64 `json:"at"`
}

// Domains returns the domains that run out before everything has reached its
// peak, the first one first, if all parts grow in the same time at constant
// rates. Where several are full at once the innermost comes first, as the
// kernel charges from the child to the root (page_counter_try_charge). Swap is
// not considered. Node and pods must be valid.
func (n Node) Domains(load Load) []Domain {
	var all []Domain
	add := func(d Domain, limit mem.Limit) {
		if l, bounded := limit.Bytes(); bounded && d.Peak > l {
			d.Limit = l
			if d.Held < l {
				d.At = float64(l-d.Held) / float64(d.Peak-d.Held)
			}
			all = append(all, d)
		}
	}
	var pods []Pod
	var inPods []Domain
	kubepods := Domain{Level: LevelKubepods}
	for _, pl := range load.Pods {
		pod := Domain{Level: LevelPod, Pod: pl.Pod.Name, Growth: Growth{pl.Base, pl.Base}}
		for i, g := range pl.Containers {
			c := pl.Pod.Containers[i]
			add(Domain{Level: LevelContainer, Pod: pl.Pod.Name, Container: c.Name, Growth: g}, n.ContainerLimits(pl.Pod, c).Max)
			pod.Growth = pod.plus(g)
		}
		pods = append(pods, pl.Pod)
		inPods = append(inPods, pod)
		kubepods.Growth = kubepods.plus(pod.Growth)
	}
	for i, pod := range inPods {
		add(pod, n.PodLimits(pods[i]).Max)
	}
	add(kubepods, n.KubepodsLimits(pods).Max)
	whole := kubepods.plus(load.System)
	add(Domain{Level: LevelNode, Growth: whole}, n.Limit)
	add(Domain{Level: LevelGlobal, Growth: whole}, mem.LimitOf(n.Capacity))
	slices.SortStableFunc(all, func(a, b Domain) int { return cmp.Compare(a.At, b.At) })
	return all
}

// FirstDomain returns the first of Domains, or false if nothing runs out.
func (n Node) FirstDomain(load Load) (Domain, bool) {
	if d := n.Domains(load); len(d) > 0 {
		return d[0], true
	}
	return Domain{}, false
}

func (g Growth) plus(o Growth) Growth { return Growth{g.Held + o.Held, g.Peak + o.Peak} }
