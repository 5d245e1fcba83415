package qos

import (
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

func requests(memory mem.Bytes, cpu MilliCPU) Requirements {
	return Requirements{Requests: Resources{Memory: memory, CPU: cpu}}
}

func both(memory mem.Bytes, cpu MilliCPU) Requirements {
	r := Resources{Memory: memory, CPU: cpu}
	return Requirements{Requests: r, Limits: r}
}

func pod(containers ...Container) Pod { return Pod{Name: "p", Containers: containers} }

func TestOOMScoreAdj(t *testing.T) {
	const gib = mem.GiB
	burstable := func(request mem.Bytes) Pod { return pod(Container{Requirements: requests(request, 0)}) }
	withClass := func(p Pod, class string, priority int32) Pod {
		p.PriorityClass, p.Priority = class, priority
		return p
	}
	sidecarPod := pod(
		Container{Name: "proxy", Kind: Sidecar, Requirements: requests(64*mem.MiB, 0)},
		Container{Name: "init", Kind: Init, Requirements: requests(128*mem.MiB, 0)},
		Container{Name: "a", Requirements: requests(1*gib, 0)},
		Container{Name: "b", Requirements: requests(2*gib, 0)},
		Container{Name: "debug", Kind: Ephemeral},
	)
	// The containers claim 64 MiB + 1 GiB + 2 GiB. The GiB that is left is shared
	// by all four of them but the ephemeral one: 256 MiB each.
	podLevel := sidecarPod
	podLevel.Resources = &Requirements{Requests: Resources{Memory: 4*gib + 64*mem.MiB}}

	for name, tc := range map[string]struct {
		pod       Pod
		container int
		capacity  mem.Bytes
		version   Version
		want      int
	}{
		"best effort":                       {pod(Container{}), 0, 8 * gib, 37, 1000},
		"guaranteed":                        {pod(Container{Requirements: both(gib, 100)}), 0, 8 * gib, 37, -997},
		"node critical best effort":         {withClass(pod(Container{}), "system-node-critical", 2000001000), 0, 8 * gib, 37, -997},
		"cluster critical best effort":      {withClass(pod(Container{}), "system-cluster-critical", 2000000000), 0, 8 * gib, 37, 1000},
		"node critical by name alone":       {withClass(pod(Container{}), "system-node-critical", 1999999999), 0, 8 * gib, 37, 1000},
		"1 GiB of 64":                       {burstable(gib), 0, 64 * gib, 37, 985},
		"integer division floors the share": {burstable(gib), 0, 7 * gib, 37, 858}, // 142.857 becomes 142
		"half of the node":                  {burstable(4 * gib), 0, 8 * gib, 37, 500},
		"a sixteenth":                       {burstable(512 * mem.MiB), 0, 8 * gib, 37, 938},
		"cpu request only":                  {pod(Container{Requirements: requests(0, 100)}), 0, 8 * gib, 37, 999},
		"request too small to count":        {burstable(mem.MiB), 0, 8 * gib, 37, 999},
		"smallest request that counts":      {burstable(2 * mem.MiB), 0, 1000 * mem.MiB, 37, 998},
		"request of the whole node":         {burstable(8 * gib), 0, 8 * gib, 37, 3},
		"request above the node":            {burstable(80 * gib), 0, 8 * gib, 37, 3},
		"997 thousandths":                   {burstable(997 * mem.MiB), 0, 1000 * mem.MiB, 37, 3},
		"996 thousandths":                   {burstable(996 * mem.MiB), 0, 1000 * mem.MiB, 37, 4},

		"sidecar scores like the least regular container": {sidecarPod, 0, 8 * gib, 32, 875},
		"sidecar before 1.32":                             {sidecarPod, 0, 8 * gib, 31, 993},
		"init container":                                  {sidecarPod, 1, 8 * gib, 37, 985},
		"regular container":                               {sidecarPod, 3, 8 * gib, 37, 750},
		"ephemeral container of a burstable pod":          {sidecarPod, 4, 8 * gib, 37, 999},
		"ephemeral container of a guaranteed pod":         {pod(Container{Requirements: both(gib, 100)}, Container{Kind: Ephemeral}), 1, 8 * gib, 37, -997},

		"pod level, regular":         {podLevel, 2, 8 * gib, 34, 844}, // 1000 - floor(1000*(1024+256)/8192)
		"pod level, sidecar":         {podLevel, 0, 8 * gib, 34, 844},
		"pod level, ephemeral":       {podLevel, 4, 8 * gib, 34, 969},
		"pod level, gate off (1.33)": {podLevel, 2, 8 * gib, 33, 875},

		"stored class wins": {Pod{Containers: []Container{{}}, StatusClass: Burstable}, 0, 8 * gib, 37, 999},
	} {
		n := Node{Version: tc.version, Capacity: tc.capacity}
		if got := n.OOMScoreAdj(tc.pod, tc.pod.Containers[tc.container]); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// A pod-level request smaller than what the containers claim leaves nothing to
// share. Up to 1.36 it took something away.
func TestOverclaimedPodLevelRequest(t *testing.T) {
	p := pod(Container{Requirements: requests(2*mem.GiB, 0)}, Container{})
	p.Resources = &Requirements{Requests: Resources{Memory: mem.GiB}}
	for v, want := range map[Version][2]int{36: {813, 1062}, 37: {750, 999}} {
		n := Node{Version: v, Capacity: 8 * mem.GiB}
		if got := [2]int{n.OOMScoreAdj(p, p.Containers[0]), n.OOMScoreAdj(p, p.Containers[1])}; got != want {
			t.Errorf("kubelet %s: scores %d, want %d", v, got, want)
		}
	}
}

// A pod-level request of CPU alone adds no memory.
func TestPodLevelCPUAddsNoMemory(t *testing.T) {
	p := pod(Container{Requirements: requests(mem.GiB, 0)})
	p.Resources = &Requirements{Requests: Resources{CPU: 500}}
	n := Node{Version: 37, Capacity: 8 * mem.GiB}
	if got := n.OOMScoreAdj(p, p.Containers[0]); got != 875 {
		t.Errorf("score %d, want 875", got)
	}
}
