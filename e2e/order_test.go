package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

func TestInOrder(t *testing.T) {
	one := func(name string, domain qos.Level, seconds int, threshold string) *scenarios.Scenario {
		s := &scenarios.Scenario{Metadata: scenarios.Metadata{Name: name}, Node: scenarios.Node{Domain: domain}}
		s.Metadata.Takes.Duration = time.Duration(seconds) * time.Second
		if threshold != "" {
			s.Node.Kubelet.EvictionHard = map[string]string{"memory.available": threshold}
		}
		return s
	}
	var got []string
	for _, s := range inOrder([]*scenarios.Scenario{
		one("short", qos.LevelPod, 10, ""), one("node", qos.LevelNode, 40, ""), one("middle", qos.LevelKubepods, 20, ""),
		one("evict", qos.LevelKubepods, 5, "400Mi"), one("long", qos.LevelContainer, 90, ""), one("node-long", qos.LevelNode, 50, ""),
		one("evict-long", qos.LevelKubepods, 60, "400Mi"), one("other", qos.LevelKubepods, 30, "500Mi"),
	}) {
		got = append(got, s.Metadata.Name)
	}
	if want := []string{"evict-long", "evict", "node-long", "node", "other", "long", "middle", "short"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
