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
			if c.Kind == Ephemeral {
				continue
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

func TestSidecarNeverScoresAboveARegularContainer(t *testing.T) {
	forRandomPods(t, func(t *testing.T, n Node, p Pod) {
		if n.Version < 32 {
			return
		}
		for _, sidecar := range p.Containers {
			for _, c := range p.Containers {
				if sidecar.Kind == Sidecar && c.Kind == Regular && n.OOMScoreAdj(p, sidecar) > n.OOMScoreAdj(p, c) {
					t.Errorf("sidecar %d above regular %d", n.OOMScoreAdj(p, sidecar), n.OOMScoreAdj(p, c))
				}
			}
		}
	})
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
