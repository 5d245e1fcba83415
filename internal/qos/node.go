package qos

import (
	"errors"
	"fmt"

	"github.com/oomlab/oomlab/internal/mem"
)

// Node is a node as its kubelet is configured. The zero value of every optional
// field is the kubelet's default.
type Node struct {
	Version Version `json:"kubeletVersion"`
	// Capacity is MemTotal of the node's own /proc/meminfo: what the kubelet
	// divides requests by. It is not the limit of the node's container.
	Capacity mem.Bytes `json:"capacityBytes"`
	// SwapCapacity is SwapTotal of /proc/meminfo.
	SwapCapacity mem.Bytes `json:"swapCapacityBytes,omitempty"`
	// PageSize is the page size of the machine; 0 is 4 KiB.
	PageSize mem.Bytes `json:"pageSizeBytes,omitempty"`
	// Limit is memory.max of the cgroup that a kind node runs in. Absent and
	// Max both say that there is none.
	Limit mem.Limit `json:"limitBytes,omitzero"`

	SystemReserved mem.Bytes `json:"systemReservedBytes,omitempty"`
	KubeReserved   mem.Bytes `json:"kubeReservedBytes,omitempty"`
	// PodsNotEnforced says that enforceNodeAllocatable lacks "pods", so that
	// kubepods has no limit.
	PodsNotEnforced bool `json:"podsNotEnforced,omitempty"`

	// CgroupVersion is 1 or 2; 0 is 2.
	CgroupVersion int `json:"cgroupVersion,omitempty"`
	Layout        `json:"layout,omitzero"`

	// SingleProcessOOMKill is the kubelet's setting of that name (1.32+).
	SingleProcessOOMKill *bool `json:"singleProcessOOMKill,omitempty"`
	// LimitedSwap is memorySwap.swapBehavior: LimitedSwap; false is NoSwap.
	LimitedSwap bool `json:"limitedSwap,omitempty"`
	// MemoryQoS is the feature gate of that name; nil is the default of the
	// version: off up to 1.36, on from 1.37.
	MemoryQoS *bool `json:"memoryQoS,omitempty"`
	// TieredReservation is memoryReservationPolicy: TieredReservation (1.36+).
	TieredReservation bool `json:"tieredReservation,omitempty"`
	// ThrottlingFactor is memoryThrottlingFactor; nil is the default of the
	// version: 0.9 up to 1.36, none from 1.37.
	ThrottlingFactor *float64 `json:"memoryThrottlingFactor,omitempty"`
}

// Validate collects what no kubelet would have started with.
func (n Node) Validate() error {
	var errs []error
	if n.Version < Oldest {
		errs = append(errs, fmt.Errorf("kubelet version %s: the oldest one modelled is %s", n.Version, Oldest))
	}
	if n.Capacity <= 0 {
		errs = append(errs, fmt.Errorf("node capacity %s: want MemTotal of /proc/meminfo", n.Capacity))
	}
	if n.SystemReserved < 0 || n.KubeReserved < 0 || n.SystemReserved+n.KubeReserved > n.Capacity {
		errs = append(errs, fmt.Errorf("reservations %s + %s do not fit in the node's %s", n.SystemReserved, n.KubeReserved, n.Capacity))
	}
	if n.CgroupVersion < 0 || n.CgroupVersion > 2 {
		errs = append(errs, fmt.Errorf("cgroup version %d: want 1 or 2", n.CgroupVersion))
	}
	if n.CgroupVersion == 1 && n.SingleProcessOOMKill != nil && !*n.SingleProcessOOMKill {
		errs = append(errs, errors.New("singleProcessOOMKill false on cgroup v1: the kubelet refuses to start; leave it out"))
	}
	return errors.Join(errs...)
}

// Allocatable returns the limit of kubepods: capacity less reservations. The
// eviction threshold is not subtracted, unlike in status.allocatable
// (getNodeAllocatableAbsoluteImpl, pkg/kubelet/cm).
func (n Node) Allocatable() mem.Bytes {
	return n.Capacity - n.SystemReserved - n.KubeReserved
}
