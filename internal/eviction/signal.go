package eviction

import "github.com/oomlab/oomlab/internal/mem"

// Usage is what a memory cgroup reports. Usage is memory.current (v1:
// usage_in_bytes), on the root of cgroup v2, which has no such file, anon+file
// of memory.stat. InactiveFile is inactive_file of memory.stat (v1:
// total_inactive_file).
type Usage struct {
	Usage        mem.Bytes `json:"usageBytes"`
	InactiveFile mem.Bytes `json:"inactiveFileBytes"`
}

// WorkingSet is the usage less the page cache that nobody used lately, at least
// zero: cAdvisor's and the kubelet's idea of memory that cannot be reclaimed.
// Cache in use and tmpfs count, although the kernel would never kill for them.
func (u Usage) WorkingSet() mem.Bytes { return max(u.Usage-u.InactiveFile, 0) }

// Node is what the kubelet knows about the node's memory at one moment.
type Node struct {
	// Capacity is MemTotal of the node's /proc/meminfo.
	Capacity mem.Bytes `json:"capacityBytes"`
	// Root is the usage of the cgroup that the kubelet takes for "/": of the
	// machine, or of a kind node's container.
	Root Usage `json:"root"`
	// Kubepods is the usage of the cgroup of all pods and KubepodsLimit its
	// limit; where it has none, no allocatableMemory.available is observed.
	Kubepods      Usage     `json:"kubepods"`
	KubepodsLimit mem.Limit `json:"kubepodsLimitBytes,omitzero"`
	// HugePages is the memory of all preallocated huge pages, which kubelets
	// from 1.37 do not call available (HugepageAwareEviction).
	HugePages mem.Bytes `json:"hugePagesBytes,omitempty"`
}

// Observation is the value of a signal. Available is negative where more is in
// use than there should be.
type Observation struct {
	Available mem.Bytes `json:"availableBytes"`
	Capacity  mem.Bytes `json:"capacityBytes"`
}

// observe returns the signals of the node, as its summary would have them
// (makeSignalObservations).
func (c Config) observe(n Node) map[Signal]Observation {
	out := map[Signal]Observation{}
	used := n.Root.WorkingSet()
	available := n.Capacity - used
	if c.Version >= 37 && available >= 0 {
		available = max(available-n.HugePages, 0)
	}
	out[MemoryAvailable] = Observation{Available: available, Capacity: available + used}
	if limit, ok := n.KubepodsLimit.Bytes(); ok {
		out[AllocatableMemoryAvailable] = Observation{Available: limit - n.Kubepods.WorkingSet(), Capacity: limit}
	}
	return out
}

// wanted is what must be available for the threshold not to be met. After it was
// met, the minimum reclaim has to be available too.
func (t Threshold) wanted(o Observation, before bool) mem.Bytes {
	want := t.Value.Of(o.Capacity)
	if before {
		want += t.MinReclaim.Of(o.Capacity)
	}
	return want
}
