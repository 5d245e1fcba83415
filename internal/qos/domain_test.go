package qos

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oomlab/oomlab/internal/mem"
)

func TestFirstDomain(t *testing.T) {
	load := func(p Pod, base mem.Bytes, g ...Growth) PodLoad { return PodLoad{Pod: p, Containers: g, Base: base} }
	limited := pod(Container{Name: "c", Requirements: both(gi, 1)})
	two := pod(Container{Name: "a", Requirements: both(gi, 1)}, Container{Name: "b", Requirements: both(3*gi, 1)})
	free := pod(Container{Name: "c"})
	node := Node{Version: 37, Capacity: 8 * gi, SystemReserved: gi}
	capped := node
	capped.Limit = mem.LimitOf(7*gi + gi/2)

	for name, tc := range map[string]struct {
		node Node
		load Load
		want []Domain // Level, Limit and At are compared
	}{
		"everything fits": {node, Load{Pods: []PodLoad{load(free, 0, Growth{0, 7 * gi})}}, nil},
		"container alone": {node, Load{Pods: []PodLoad{load(two, 0, Growth{0, 2 * gi}, Growth{0, gi})}},
			[]Domain{{Level: LevelContainer, Limit: gi, At: 0.5}}},
		// The pause container makes the pod's cgroup run out just before the
		// container's, though both limits are the same.
		"pod before its only container": {node, Load{Pods: []PodLoad{load(limited, gi/4, Growth{0, 2 * gi})}},
			[]Domain{{Level: LevelPod, Limit: gi, At: 0.375}, {Level: LevelContainer, Limit: gi, At: 0.5}}},
		"the inner one of equals": {node, Load{Pods: []PodLoad{load(limited, 0, Growth{0, 2 * gi})}},
			[]Domain{{Level: LevelContainer, Limit: gi, At: 0.5}, {Level: LevelPod, Limit: gi, At: 0.5}}},
		"kubepods": {node, Load{Pods: []PodLoad{load(free, 0, Growth{gi, 8 * gi})}},
			[]Domain{{Level: LevelKubepods, Limit: 7 * gi, At: 6. / 7}}},
		"node cap, with the system's share": {capped, Load{System: Growth{gi, gi}, Pods: []PodLoad{load(free, 0, Growth{0, 7 * gi})}},
			[]Domain{{Level: LevelNode, Limit: 7*gi + gi/2, At: 6.5 / 7}}},
		"node before kubepods": {capped, Load{System: Growth{2 * gi, 2 * gi}, Pods: []PodLoad{load(free, 0, Growth{0, 8 * gi})}},
			[]Domain{{Level: LevelNode, Limit: 7*gi + gi/2, At: 5.5 / 8}, {Level: LevelGlobal, Limit: 8 * gi, At: 0.75}, {Level: LevelKubepods, Limit: 7 * gi, At: 7. / 8}}},
		"the whole kernel": {node, Load{System: Growth{0, 8*gi + 1}}, []Domain{{Level: LevelGlobal, Limit: 8 * gi, At: float64(8*gi) / float64(8*gi+1)}}},
		"full from the start": {node, Load{Pods: []PodLoad{load(free, 0, Growth{7 * gi, 7*gi + 1})}},
			[]Domain{{Level: LevelKubepods, Limit: 7 * gi, At: 0}}},
		"shrinking does not count": {node, Load{Pods: []PodLoad{load(free, 0, Growth{9 * gi, gi})}}, nil},
	} {
		got := tc.node.Domains(tc.load)
		for i := range got {
			got[i] = Domain{Level: got[i].Level, Limit: got[i].Limit, At: got[i].At}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		first, ok := tc.node.FirstDomain(tc.load)
		if ok != (len(tc.want) > 0) || ok && first.Level != tc.want[0].Level {
			t.Errorf("%s: FirstDomain = %s, %v", name, first.Level, ok)
		}
	}
}

func TestDomainNamesItsPodAndContainer(t *testing.T) {
	p := pod(Container{Name: "a", Requirements: both(gi, 1)}, Container{Name: "b", Requirements: both(gi, 1)})
	p.Name = "web"
	n := Node{Version: 37, Capacity: 8 * gi}
	d, ok := n.FirstDomain(Load{Pods: []PodLoad{{Pod: p, Containers: []Growth{{0, gi}, {mi, 2 * gi}}}}})
	if !ok || d.Pod != "web" || d.Container != "b" || d.Held != mi || d.Peak != 2*gi {
		t.Errorf("FirstDomain = %+v, %v; want container b of web, 1Mi to 2Gi", d, ok)
	}
}
