package qos

import (
	"math/rand/v2"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// randomPod returns a valid pod of one to five containers.
func randomPod(r *rand.Rand) Pod {
	amount := func() Requirements {
		limit := Resources{mem.Bytes(r.IntN(4)) * gi / 2, MilliCPU(r.IntN(3) * 100)}
		request := limit
		if r.IntN(2) == 0 {
			request = Resources{limit.Memory / 2, limit.CPU / 2}
		}
		if r.IntN(3) == 0 {
			limit = Resources{}
		}
		return Requirements{request, limit}
	}
	p := pod(Container{Requirements: amount()})
	for range r.IntN(5) {
		c := Container{Kind: []Kind{Regular, Init, Sidecar, Ephemeral}[r.IntN(4)]}
		if c.Kind != Ephemeral {
			c.Requirements = amount()
		}
		p.Containers = append(p.Containers, c)
	}
	if r.IntN(3) == 0 {
		whole := amount()
		whole.Requests = whole.Requests.max(p.containerSum(requestsOf)) // as validation asks for
		p.Resources = &whole
	}
	return p
}

func forRandomPods(t *testing.T, check func(t *testing.T, n Node, p Pod)) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		n := Node{Version: Oldest + Version(r.IntN(int(Newest-Oldest)+1)), Capacity: mem.Bytes(1+r.IntN(64)) * gi}
		p := randomPod(r)
		if check(t, n, p); t.Failed() {
			t.Fatalf("on a node of %s, kubelet %s: %+v, pod-level %+v", n.Capacity, n.Version, p, p.Resources)
		}
	}
}

func TestClassesDoNotOverlapInScore(t *testing.T) {
	forRandomPods(t, func(t *testing.T, n Node, p Pod) {
		for _, c := range p.Containers {
			score := n.OOMScoreAdj(p, c)
			ok := map[Class]bool{
				Guaranteed: score == GuaranteedScore,
				Burstable:  score >= 3 && score <= 999,
				BestEffort: score == BestEffortScore,
			}
			if class := ClassOf(p, n.Version); !ok[class] {
				t.Errorf("%s container scores %d", class, score)
			}
		}
	})
}

func TestMoreRequestNeverRaisesTheScore(t *testing.T) {
	forRandomPods(t, func(t *testing.T, n Node, p Pod) {
		p.StatusClass = Burstable // a larger request must not move the pod to another class
		for i, c := range p.Containers {
			if c.Kind == Ephemeral || c.Kind == Sidecar && p.Resources != nil {
				continue // see TestSidecarRequestCanRaiseItsScore
			}
			before := n.OOMScoreAdj(p, c)
			q := p
			q.Containers = append([]Container{}, p.Containers...)
			q.Containers[i].Requests.Memory += gi / 4
			// Under a pod-level request the unclaimed share shrinks as the
			// container claims more, but by less than it gains.
			if after := n.OOMScoreAdj(q, q.Containers[i]); after > before {
				t.Errorf("container %d: %d became %d with a larger request", i, before, after)
			}
		}
	})
}

// A sidecar is as safe as the least safe of the regular containers, no safer:
// the kubelet compares with the smallest of their requests.
func TestSidecarNeverScoresAboveAllRegularContainers(t *testing.T) {
	forRandomPods(t, func(t *testing.T, n Node, p Pod) {
		if n.Version < 32 {
			return
		}
		worst := -1000
		for _, c := range p.Containers {
			if c.Kind == Regular {
				worst = max(worst, n.OOMScoreAdj(p, c))
			}
		}
		for _, c := range p.Containers {
			if score := n.OOMScoreAdj(p, c); c.Kind == Sidecar && score > worst {
				t.Errorf("sidecar %d above regular %d", score, worst)
			}
		}
	})
}

// Under a pod-level request, what a sidecar requests for itself is taken from
// the share of every container, but counts for it only above the smallest
// regular request: asking for more can cost it credit.
func TestSidecarRequestCanRaiseItsScore(t *testing.T) {
	score := func(request mem.Bytes) int {
		p := pod(Container{Requirements: requests(512*mi, 0)}, Container{Kind: Sidecar, Requirements: requests(request, 0)})
		p.Resources = &Requirements{Requests: Resources{Memory: 768 * mi}}
		return Node{Version: 37, Capacity: 10 * gi}.OOMScoreAdj(p, p.Containers[1])
	}
	// 512Mi + (768Mi-512Mi)/2 = 640Mi, then 512Mi + (768Mi-768Mi)/2 = 512Mi.
	if before, after := score(0), score(256*mi); before != 938 || after != 950 {
		t.Errorf("scores %d without and %d with a request, want 938 and 950", before, after)
	}
}

func TestContainerLimitNeverAbovePodLimit(t *testing.T) {
	forRandomPods(t, func(t *testing.T, n Node, p Pod) {
		whole, limited := n.PodLimits(p).Max.Bytes()
		if p.Resources != nil || !limited {
			return // nothing forces a container to fit into a pod-level limit
		}
		for _, c := range p.Containers {
			if own, ok := n.ContainerLimits(p, c).Max.Bytes(); ok && own > whole {
				t.Errorf("container limit %s above the pod's %s", own, whole)
			}
		}
	})
}
