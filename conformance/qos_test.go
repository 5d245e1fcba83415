package conformance

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	resourcehelper "k8s.io/component-helpers/resource"
	apiresource "k8s.io/kubernetes/pkg/api/v1/resource"
	apiqos "k8s.io/kubernetes/pkg/apis/core/v1/helper/qos"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	kubelet "k8s.io/kubernetes/pkg/kubelet/qos"
)

var (
	pods = flag.Int("pods", 50_000, "random pods to compare")
	seed = flag.Uint64("seed", 1, "seed of the random pods")
)

// forRandomPods calls compare with random pods, on all CPUs, until it reported
// a difference.
func forRandomPods(t *testing.T, compare func(t *testing.T, g generator, p qos.Pod, api *v1.Pod)) {
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			g := generator{rand.New(rand.NewPCG(*seed, uint64(w)))}
			for i := w; i < *pods && !t.Failed(); i += workers {
				p := g.pod(strconv.Itoa(i))
				compare(t, g, p, g.toAPI(p))
			}
		})
	}
	wg.Wait()
	t.Logf("%d pods, kubelet 1.%d", *pods, minor)
}

func TestScore(t *testing.T) {
	forRandomPods(t, func(t *testing.T, g generator, p qos.Pod, api *v1.Pod) {
		n := qos.Node{Version: minor, Capacity: mem.MiB + mem.Bytes(g.Int64N(int64(256*mem.GiB)))}
		for i, c := range containersOf(api) {
			want := kubelet.GetContainerOOMScoreAdjust(api, c, int64(n.Capacity))
			if got := n.OOMScoreAdj(p, p.Containers[i]); got != want {
				t.Errorf("container %s: oom_score_adj %d, kubelet says %d: capacity %s, %+v, pod-level %+v", c.Name, got, want, n.Capacity, p, p.Resources)
			}
		}
	})
}

func TestClass(t *testing.T) {
	forRandomPods(t, func(t *testing.T, _ generator, p qos.Pod, api *v1.Pod) {
		want := qos.Class(apiqos.GetPodQOS(api))
		if got := qos.ClassOf(p, minor); got != want {
			t.Errorf("%s, kubelet says %s: %+v, pod-level %+v", got, want, p, p.Resources)
		}
	})
}

func TestRequests(t *testing.T) {
	forRandomPods(t, func(t *testing.T, _ generator, p qos.Pod, api *v1.Pod) {
		list := resourcehelper.PodRequests(api, resourcehelper.PodResourcesOptions{})
		want := qos.Resources{Memory: mem.Bytes(list.Memory().Value()), CPU: qos.MilliCPU(list.Cpu().MilliValue())}
		if got := p.PodRequest(minor); got != want {
			t.Errorf("pod request %+v, kubelet says %+v: %+v, pod-level %+v", got, want, p, p.Resources)
		}
		quantity := apiresource.GetResourceRequestQuantity(api, v1.ResourceMemory)
		if got := p.EvictionRequest(minor); got != mem.Bytes(quantity.Value()) {
			t.Errorf("request for eviction %s, kubelet says %s: %+v, pod-level %+v", got, quantity.String(), p, p.Resources)
		}
	})
}

func TestPodCgroup(t *testing.T) {
	on, factor := true, 0.7
	forRandomPods(t, func(t *testing.T, g generator, p qos.Pod, api *v1.Pod) {
		memoryQoS := g.oneIn(2)
		n := qos.Node{Version: minor, Capacity: 8 * mem.GiB, MemoryQoS: &memoryQoS}
		if memoryQoS {
			n.MemoryQoS, n.TieredReservation, n.ThrottlingFactor = &on, true, &factor
		}
		got, want := n.PodLimits(p), podCgroup(api, memoryQoS, factor)
		max := mem.Limit{}
		if want.Memory != nil && *want.Memory != 0 {
			max = mem.LimitOf(mem.Bytes(*want.Memory))
		}
		for file, pair := range map[string][2]mem.Limit{
			"memory.max":  {got.Max, max},
			"memory.min":  {got.Min, limit(t, want.Unified[cm.Cgroup2MemoryMin])},
			"memory.low":  {got.Low, limit(t, want.Unified["memory.low"])},
			"memory.high": {got.High, limit(t, want.Unified[cm.Cgroup2MemoryHigh])},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s %s, kubelet says %s: %+v, pod-level %+v", file, pair[0], pair[1], p, p.Resources)
			}
		}
	})
}

func limit(t *testing.T, s string) mem.Limit {
	if s == "" {
		return mem.Limit{}
	}
	l, err := mem.ParseLimit(s)
	if err != nil {
		t.Error(err)
	}
	return l
}

func TestLayout(t *testing.T) {
	forRandomPods(t, func(t *testing.T, g generator, p qos.Pod, _ *v1.Pod) {
		root := [][]string{nil, {"kubelet"}, {"my-root", "deep"}}[g.IntN(3)]
		name := append(cm.CgroupName{}, root...)
		name = cm.NewCgroupName(name, "kubepods")
		class := qos.ClassOf(p, minor)
		switch class {
		case qos.Burstable:
			name = cm.NewCgroupName(name, "burstable")
		case qos.BestEffort:
			name = cm.NewCgroupName(name, "besteffort")
		}
		name = cm.NewCgroupName(name, cm.GetPodCgroupNameSuffix(types.UID(p.UID)))
		l := qos.Layout{Root: "/" + cm.CgroupName(root).ToCgroupfs()}
		if got, want := l.Pod(class, p.UID), name.ToSystemd(); got != want {
			t.Errorf("systemd: %s, kubelet says %s", got, want)
		}
		l.Driver = qos.Cgroupfs
		if got, want := l.Pod(class, p.UID), name.ToCgroupfs(); got != want {
			t.Errorf("cgroupfs: %s, kubelet says %s", got, want)
		}
	})
}
