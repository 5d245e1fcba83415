package qos

import (
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

func TestPodValidate(t *testing.T) {
	if err := burstablePod().Validate(); err != nil {
		t.Errorf("good pod: %v", err)
	}
	for want, p := range map[string]Pod{
		"no regular container":                   pod(Container{Kind: Init}),
		"kind \"main\": want init":               pod(Container{}, Container{Kind: "main"}),
		"ephemeral container c has resources":    pod(Container{}, Container{Name: "c", Kind: Ephemeral, Requirements: requests(mi, 0)}),
		"container c: memory request 2Mi above":  pod(Container{Name: "c", Requirements: Requirements{Resources{2 * mi, 0}, Resources{mi, 0}}}),
		"cpu request 2m above its limit 1m":      pod(Container{Requirements: Requirements{Resources{0, 2}, Resources{0, 1}}}),
		"negative request":                       pod(Container{Requirements: requests(-1, 0)}),
		"pod-level resources: memory request":    {Containers: []Container{{}}, Resources: &Requirements{Resources{2, 0}, Resources{1, 0}}},
		"QoS class \"Best\": want Guaranteed":    {Containers: []Container{{}}, StatusClass: "Best"},
		"pod p: container c: negative request":   pod(Container{Name: "c", Requirements: Requirements{Limits: Resources{CPU: -1}}}),
		"no regular container: add one":          {},
		"pod-level resources: cpu request 2m ab": {Containers: []Container{{}}, Resources: &Requirements{Resources{0, 2}, Resources{0, 1}}},
	} {
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestNodeValidate(t *testing.T) {
	good := Node{Version: 37, Capacity: gi}
	if err := good.Validate(); err != nil {
		t.Errorf("good node: %v", err)
	}
	for want, change := range map[string]func(*Node){
		"kubelet version 1.26":      func(n *Node) { n.Version = 26 },
		"node capacity 0":           func(n *Node) { n.Capacity = 0 },
		"do not fit in the node's":  func(n *Node) { n.SystemReserved = gi; n.KubeReserved = 1 },
		"cgroup version 3":          func(n *Node) { n.CgroupVersion = 3 },
		"kubelet refuses to start":  func(n *Node) { n.CgroupVersion = 1; n.SingleProcessOOMKill = yes(false) },
		"reservations -1 + 0 do no": func(n *Node) { n.SystemReserved = -1 },
	} {
		n := good
		change(&n)
		if err := n.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	all := Node{CgroupVersion: -1, KubeReserved: mem.Bytes(-1)}
	if err := all.Validate(); strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("want all four errors at once, got:\n%v", err)
	}
}
