package qos

import "github.com/oomlab/oomlab/internal/mem"

// Scores that do not depend on a request. A process keeps the score of its
// parent unless somebody writes another one.
const (
	KubeletScore    = -999 // pkg/kubelet/qos/policy.go, KubeletOOMScoreAdj
	KubeProxyScore  = -999 // kube-proxy lowers itself after the start
	ContainerdScore = -999 // OOMScoreAdjust= of containerd.service
	ShimScore       = -998 // containerd's own plus 1
	PauseScore      = -998 // containerd, internal/cri/server/podsandbox

	GuaranteedScore = -997
	BestEffortScore = 1000

	// Burstable scores stay between those of the other two classes.
	BurstableScoreMin = 1000 + GuaranteedScore
	BurstableScoreMax = BestEffortScore - 1
)

// OOMScoreAdj returns the oom_score_adj, -997 to 1000, that the node's kubelet
// writes to the processes of a container of the pod when it starts
// (GetContainerOOMScoreAdjust, pkg/kubelet/qos). The node must be valid: its
// capacity is a divisor. Kubelets up to 1.36 go beyond 1000, which the kernel
// refuses, for containers that request more than their pod-level request: no
// API server accepts such pods.
func (n Node) OOMScoreAdj(p Pod, c Container) int {
	if p.IsNodeCritical() {
		return GuaranteedScore
	}
	switch ClassOf(p, n.Version) {
	case Guaranteed:
		return GuaranteedScore
	case BestEffort:
		return BestEffortScore
	}
	credit := c.Requests.Memory
	if n.Version >= 32 && c.Kind == Sidecar {
		// A sidecar must not die before the containers that it serves.
		credit = max(credit, p.minRegularRequest())
	}
	credit += n.Version.unclaimedShare(p)
	score := scoreOf(credit, n.Capacity)
	if score == BestEffortScore {
		return BurstableScoreMax
	}
	return max(score, BurstableScoreMin)
}

// scoreOf takes a thousandth off for every thousandth of the node that is
// requested, in the kubelet's 64-bit integers.
func scoreOf(request, capacity mem.Bytes) int {
	return int(1000 - 1000*request/capacity)
}

// minRegularRequest is the smallest memory request of the regular containers.
func (p Pod) minRegularRequest() mem.Bytes {
	least := mem.Bytes(-1)
	for _, c := range p.Containers {
		if c.Kind == Regular && (least < 0 || c.Requests.Memory < least) {
			least = c.Requests.Memory
		}
	}
	return max(least, 0)
}

// unclaimedShare is what a pod-level memory request adds to each container: the
// part that no container requests, divided by all but the ephemeral ones
// (remainingPodMemReqPerContainer, pkg/kubelet/qos).
func (v Version) unclaimedShare(p Pod) mem.Bytes {
	if !v.podLevelResources() || p.Resources == nil || p.Resources.Requests.Memory == 0 {
		return 0
	}
	containers := mem.Bytes(0)
	for _, c := range p.Containers {
		if c.Kind != Ephemeral {
			containers++
		}
	}
	unclaimed := p.Resources.Requests.Memory - p.containerSum(requestsOf).Memory
	if v >= 37 {
		unclaimed = max(unclaimed, 0)
	}
	return unclaimed / max(containers, 1)
}

// ClassOfScore says which class of pods a kubelet gives the score to, or false
// where it gives it to none. It is a conclusion backwards: Guaranteed stands for
// node-critical pods as well, and any process may be given any score by others.
func ClassOfScore(adj int) (Class, bool) {
	switch {
	case adj == BestEffortScore:
		return BestEffort, true
	case adj == GuaranteedScore:
		return Guaranteed, true
	case BurstableScoreMin <= adj && adj <= BurstableScoreMax:
		return Burstable, true
	}
	return "", false
}
