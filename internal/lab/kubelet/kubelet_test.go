package kubelet

import (
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

func TestConfigure(t *testing.T) {
	one := true
	first := scenarios.Node{
		Memory: *scenarios.MemoryOf(mem.GiB), Domain: qos.LevelKubepods,
		Kubelet: scenarios.Kubelet{
			EvictionHard: map[string]string{"memory.available": "200Mi"}, SingleProcessOOMKill: &one,
			CrashLoopBackOff: &scenarios.CrashLoopBackOff{MaxContainerRestartPeriod: scenarios.Duration{Duration: 2 * time.Second}},
		},
	}
	config, err := Configure([]byte("clusterDNS: [10.96.0.10]\nevictionHard: {nodefs.available: 0%}\n"), first)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"clusterDNS:", "memory.available: 200Mi", "memory: 512Mi", "singleProcessOOMKill: true", "maxContainerRestartPeriod: 2s"} {
		if !strings.Contains(string(config), want) {
			t.Errorf("%q is not in\n%s", want, config)
		}
	}
	// The next scenario on the same worker starts from there.
	config, err = Configure(config, scenarios.Node{Memory: *scenarios.MemoryOf(mem.GiB), Domain: qos.LevelNode})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"memory.available", "singleProcessOOMKill", "maxContainerRestartPeriod"} {
		if strings.Contains(string(config), gone) {
			t.Errorf("%q of the scenario before is still in\n%s", gone, config)
		}
	}
	if !strings.Contains(string(config), `memory: "0"`) {
		t.Errorf("domain node reserves nothing, but\n%s", config)
	}
}

func TestPodSpec(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	w, _ := s.Workload("guaranteed")
	pod := PodSpec(w, "guaranteed", "node", "image")
	c := pod.Spec.Containers[0]
	if pod.Spec.NodeName != "node" || c.Resources.Limits.Memory().String() != "160Mi" || c.Resources.Limits.Cpu().String() != "100m" {
		t.Errorf("pod %+v", pod.Spec)
	}
	if args := strings.Join(c.Args, " "); !strings.Contains(args, "-plan=fill 150Mi, hold") || !strings.Contains(args, "-request=160Mi") {
		t.Errorf("arguments %q", args)
	}
	w, _ = s.Workload("pressure")
	if args := strings.Join(PodSpec(w, "p", "n", "i").Spec.Containers[0].Args, " "); !strings.Contains(args, "-plan=await, ramp") {
		t.Errorf("pressure does not wait for its signal: %q", args)
	}
}
