package qos

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oomlab/oomlab/internal/mem"
)

const mi, gi = mem.MiB, mem.GiB

var limitsEqual = cmp.Comparer(func(a, b mem.Limit) bool { return a == b })

func yes(b bool) *bool { return &b }

// burstable has one container that asks for 1Gi, may have 2Gi, and asks for CPU.
func burstablePod() Pod {
	return pod(Container{Requirements: Requirements{Resources{gi, 100}, Resources{2 * gi, 0}}})
}

func TestContainerLimits(t *testing.T) {
	limited := func(b mem.Bytes) mem.Limit { return mem.LimitOf(b) }
	node := Node{Capacity: 8 * gi, SystemReserved: gi, KubeReserved: gi, SwapCapacity: 4 * gi}
	with := func(v Version, change func(*Node)) Node {
		n := node
		n.Version = v
		if change != nil {
			change(&n)
		}
		return n
	}
	v1 := func(n *Node) { n.CgroupVersion = 1 }
	swap := func(n *Node) { n.LimitedSwap = true }
	memoryQoS := func(n *Node) { n.MemoryQoS = yes(true) }
	tiered := func(n *Node) { n.MemoryQoS, n.TieredReservation = yes(true), true }
	factor := func(n *Node) { f := 0.5; n.ThrottlingFactor = &f }
	inherits := pod(Container{Requirements: requests(gi, 0)})
	inherits.Resources = &Requirements{Limits: Resources{Memory: 3 * gi}}
	critical := burstablePod()
	critical.Static = true
	// 1Gi + 0.9*(2Gi-1Gi) = 2040109465.6 bytes, in whole pages:
	const high = 498073 * 4 * mem.KiB

	for name, tc := range map[string]struct {
		node Node
		pod  Pod
		want Limits
	}{
		"nothing set, 1.37":            {with(37, nil), pod(Container{}), Limits{OOMGroup: true, Swap: limited(0)}},
		"limit, 1.37":                  {with(37, nil), burstablePod(), Limits{Max: limited(2 * gi), OOMGroup: true, Swap: limited(0)}},
		"1.27 knows no group kill":     {with(27, nil), burstablePod(), Limits{Max: limited(2 * gi)}},
		"1.28 does, whatever is asked": {with(28, func(n *Node) { n.SingleProcessOOMKill = yes(true) }), burstablePod(), Limits{Max: limited(2 * gi), OOMGroup: true, Swap: limited(0)}},
		"single process":               {with(32, func(n *Node) { n.SingleProcessOOMKill = yes(true) }), burstablePod(), Limits{Max: limited(2 * gi), Swap: limited(0)}},
		"cgroup v1":                    {with(37, v1), burstablePod(), Limits{Max: limited(2 * gi), Swap: limited(0)}},
		"cgroup v1 without a limit":    {with(37, v1), pod(Container{}), Limits{}},
		"inherits the pod's limit":     {with(34, nil), inherits, Limits{Max: limited(3 * gi), OOMGroup: true, Swap: limited(0)}},
		"inherits nothing in 1.33":     {with(33, nil), inherits, Limits{OOMGroup: true, Swap: limited(0)}},

		"limited swap":                    {with(37, swap), burstablePod(), Limits{Max: limited(2 * gi), OOMGroup: true, Swap: limited(gi / 2)}},
		"limited swap, critical":          {with(37, swap), critical, Limits{Max: limited(2 * gi), OOMGroup: true, Swap: limited(0)}},
		"limited swap, critical, 1.30":    {with(30, swap), critical, Limits{Max: limited(2 * gi), OOMGroup: true, Swap: limited(gi / 2)}},
		"limited swap, request = limit":   {with(37, swap), pod(Container{Requirements: both(gi, 0)}), Limits{Max: limited(gi), OOMGroup: true, Swap: limited(0)}},
		"limited swap, best effort":       {with(37, swap), pod(Container{}), Limits{OOMGroup: true, Swap: limited(0)}},
		"limited swap, more than a node":  {with(37, swap), pod(Container{Requirements: requests(9*gi, 0)}), Limits{OOMGroup: true, Swap: limited(0)}},
		"limited swap on cgroup v1 is no": {with(37, func(n *Node) { n.LimitedSwap, n.CgroupVersion = true, 1 }), burstablePod(), Limits{Max: limited(2 * gi), Swap: limited(0)}},

		"memory QoS, 1.35":               {with(35, memoryQoS), burstablePod(), Limits{Max: limited(2 * gi), Min: limited(gi), High: limited(high), OOMGroup: true, Swap: limited(0)}},
		"memory QoS, 1.36":               {with(36, memoryQoS), burstablePod(), Limits{Max: limited(2 * gi), High: limited(high), OOMGroup: true, Swap: limited(0)}},
		"memory QoS, 1.36, best effort":  {with(36, memoryQoS), pod(Container{}), Limits{OOMGroup: true, Swap: limited(0)}},
		"tiered, burstable":              {with(37, tiered), burstablePod(), Limits{Max: limited(2 * gi), Low: limited(gi), OOMGroup: true, Swap: limited(0)}},
		"tiered, guaranteed":             {with(37, tiered), pod(Container{Requirements: both(gi, 1)}), Limits{Max: limited(gi), Min: limited(gi), OOMGroup: true, Swap: limited(0)}},
		"memory QoS needs cgroup v2":     {with(35, func(n *Node) { n.MemoryQoS, n.CgroupVersion = yes(true), 1 }), burstablePod(), Limits{Max: limited(2 * gi), Swap: limited(0)}},
		"factor, 1.37":                   {with(37, factor), burstablePod(), Limits{Max: limited(2 * gi), High: limited(gi + gi/2), OOMGroup: true, Swap: limited(0)}},
		"factor, 1.37, best effort":      {with(37, factor), pod(Container{}), Limits{High: limited(3 * gi), OOMGroup: true, Swap: limited(0)}},
		"factor, 1.37, request = limit":  {with(37, factor), pod(Container{Requirements: both(gi, 0)}), Limits{Max: limited(gi), OOMGroup: true, Swap: limited(0)}},
		"factor, 1.37, inherited limit":  {with(37, factor), inherits, Limits{Max: limited(3 * gi), OOMGroup: true, Swap: limited(0)}},
		"factor, no limit":               {with(37, factor), pod(Container{Requirements: requests(gi, 0)}), Limits{High: limited(3*gi + gi/2), OOMGroup: true, Swap: limited(0)}},
		"factor, 64 KiB pages":           {with(37, func(n *Node) { factor(n); n.PageSize = 64 * mem.KiB }), pod(Container{Requirements: Requirements{Resources{mi, 0}, Resources{mi + 100*mem.KiB, 0}}}), Limits{Max: limited(mi + 100*mem.KiB), OOMGroup: true, Swap: limited(0)}},
		"factor with the gate off, 1.37": {with(37, func(n *Node) { factor(n); n.MemoryQoS = yes(false) }), burstablePod(), Limits{Max: limited(2 * gi), OOMGroup: true, Swap: limited(0)}},
	} {
		if diff := cmp.Diff(tc.want, tc.node.ContainerLimits(tc.pod, tc.pod.Containers[0]), limitsEqual); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestPodLimits(t *testing.T) {
	both2 := pod(Container{Requirements: both(gi, 1)}, Container{Requirements: both(gi, 1)})
	overhead := both2
	overhead.Overhead = Resources{Memory: 100 * mi}
	unlimited := pod(Container{Requirements: requests(gi, 1)})
	unlimited.Overhead = overhead.Overhead
	half := pod(Container{Requirements: both(gi, 1)}, Container{})
	ephemeral := pod(Container{Requirements: both(gi, 1)}, Container{Kind: Ephemeral})
	limited := func(k Kind) Container { return Container{Kind: k, Requirements: both(gi, 1)} }
	afterSidecar := pod(limited(Sidecar), Container{Kind: Init}, Container{Kind: Sidecar}, limited(Regular))
	beforeSidecar := pod(Container{Kind: Init}, limited(Sidecar), limited(Regular))
	afterInit := pod(limited(Init), Container{Kind: Sidecar}, limited(Regular))
	podLevel := unlimited
	podLevel.Resources = &Requirements{Requests: Resources{Memory: 2 * gi}, Limits: Resources{Memory: 4 * gi}}
	f := 0.5

	for name, tc := range map[string]struct {
		node Node
		pod  Pod
		want Limits
	}{
		"sum of limits":      {Node{Version: 37}, both2, Limits{Max: mem.LimitOf(2 * gi)}},
		"and overhead":       {Node{Version: 37}, overhead, Limits{Max: mem.LimitOf(2*gi + 100*mi)}},
		"no limit":           {Node{Version: 37}, unlimited, Limits{}},
		"one without limit":  {Node{Version: 37}, half, Limits{}},
		"ephemeral is asked": {Node{Version: 37}, ephemeral, Limits{Max: mem.LimitOf(gi)}},
		"best effort":        {Node{Version: 37}, pod(Container{}), Limits{}},

		"unlimited after a sidecar":       {Node{Version: 37}, afterSidecar, Limits{}},
		"unlimited after a sidecar, 1.36": {Node{Version: 36}, afterSidecar, Limits{Max: mem.LimitOf(2 * gi)}},
		"unlimited before it, 1.36":       {Node{Version: 36}, beforeSidecar, Limits{}},
		"unlimited after init, 1.36":      {Node{Version: 36}, afterInit, Limits{}},

		"pod level":        {Node{Version: 34}, podLevel, Limits{Max: mem.LimitOf(4*gi + 100*mi)}},
		"pod level, 1.33":  {Node{Version: 33}, podLevel, Limits{}},
		"memory QoS, 1.35": {Node{Version: 35, MemoryQoS: yes(true)}, unlimited, Limits{Min: mem.LimitOf(gi + 100*mi)}},
		"pod level, factor": {Node{Version: 37, ThrottlingFactor: &f}, podLevel,
			Limits{Max: mem.LimitOf(4*gi + 100*mi), High: mem.LimitOf(3*gi + 100*mi)}},
		"factor without pod level": {Node{Version: 37, ThrottlingFactor: &f}, both2, Limits{Max: mem.LimitOf(2 * gi)}},
		"tiered, burstable":        {Node{Version: 37, TieredReservation: true}, unlimited, Limits{Low: mem.LimitOf(gi + 100*mi)}},
		"tiered, guaranteed":       {Node{Version: 37, TieredReservation: true}, both2, Limits{Max: mem.LimitOf(2 * gi), Min: mem.LimitOf(2 * gi)}},
	} {
		if diff := cmp.Diff(tc.want, tc.node.PodLimits(tc.pod), limitsEqual); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestKubepodsAndClassLimits(t *testing.T) {
	pods := []Pod{pod(Container{Requirements: both(2*gi, 1)}), burstablePod(), pod(Container{})}
	n := Node{Version: 37, Capacity: 8 * gi, SystemReserved: gi, KubeReserved: gi / 2}
	max := mem.LimitOf(6*gi + gi/2)
	old, tiered := n, n
	old.Version, old.MemoryQoS = 35, yes(true)
	tiered.TieredReservation = true
	loose := n
	loose.PodsNotEnforced = true
	for name, tc := range map[string]struct {
		node            Node
		kubepods, burst Limits
	}{
		"default":      {n, Limits{Max: max}, Limits{}},
		"not enforced": {loose, Limits{Max: mem.LimitOf(8 * gi)}, Limits{}},
		"1.35":         {old, Limits{Max: max, Min: mem.LimitOf(3 * gi)}, Limits{Min: mem.LimitOf(gi)}},
		"tiered":       {tiered, Limits{Max: max, Min: mem.LimitOf(3 * gi), Low: mem.LimitOf(gi)}, Limits{Low: mem.LimitOf(gi)}},
	} {
		if diff := cmp.Diff(tc.kubepods, tc.node.KubepodsLimits(pods), limitsEqual); diff != "" {
			t.Errorf("%s: kubepods -want +got:\n%s", name, diff)
		}
		if diff := cmp.Diff(tc.kubepods, tc.node.ClassLimits(Guaranteed, pods), limitsEqual); diff != "" {
			t.Errorf("%s: parent of guaranteed pods -want +got:\n%s", name, diff)
		}
		if diff := cmp.Diff(tc.burst, tc.node.ClassLimits(Burstable, pods), limitsEqual); diff != "" {
			t.Errorf("%s: burstable -want +got:\n%s", name, diff)
		}
		if diff := cmp.Diff(Limits{}, tc.node.ClassLimits(BestEffort, pods), limitsEqual); diff != "" {
			t.Errorf("%s: besteffort -want +got:\n%s", name, diff)
		}
	}
}
