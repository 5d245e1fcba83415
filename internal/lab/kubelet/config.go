package kubelet

import (
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab/scenarios"
)

// transitionPeriod is how long a pressure condition stays on after the pressure
// has gone (5 m by default), so that recovery can be watched.
const transitionPeriod = "5s"

// noEviction are thresholds at which the kubelet never evicts. Any evictionHard
// replaces all defaults, so that memory is not mentioned here at all.
var noEviction = map[string]string{"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"}

// Configure changes a KubeletConfiguration to what a scenario asks for.
// Settings of an earlier scenario are undone.
func Configure(old []byte, n scenarios.Node) ([]byte, error) {
	config := map[string]any{}
	if err := yaml.Unmarshal(old, &config); err != nil {
		return nil, fmt.Errorf("read the kubelet's configuration: %w", err)
	}
	hard := map[string]string{}
	for signal, threshold := range noEviction {
		hard[signal] = threshold
	}
	for signal, threshold := range n.Kubelet.EvictionHard {
		hard[signal] = threshold
	}
	settings := map[string]any{
		"evictionHard":                     hard,
		"evictionPressureTransitionPeriod": transitionPeriod,
		"systemReserved":                   map[string]string{"memory": n.Reservation().String()},
		"evictionSoft":                     n.Kubelet.EvictionSoft,
		"evictionSoftGracePeriod":          n.Kubelet.EvictionSoftGracePeriod,
		"nodeStatusUpdateFrequency":        "2s",
	}
	if n.Kubelet.CrashLoopBackOff != nil {
		settings["crashLoopBackOff"] = n.Kubelet.CrashLoopBackOff
	} else {
		delete(config, "crashLoopBackOff")
	}
	if n.Kubelet.SingleProcessOOMKill != nil {
		settings["singleProcessOOMKill"] = *n.Kubelet.SingleProcessOOMKill
	} else {
		delete(config, "singleProcessOOMKill")
	}
	if n.Kubelet.MemorySwap != nil {
		settings["memorySwap"] = n.Kubelet.MemorySwap
	} else {
		delete(config, "memorySwap")
	}
	if n.Kubelet.MemoryThrottlingFactor != nil {
		settings["memoryThrottlingFactor"] = *n.Kubelet.MemoryThrottlingFactor
	} else {
		delete(config, "memoryThrottlingFactor")
	}
	if len(n.Kubelet.FeatureGates) > 0 {
		settings["featureGates"] = n.Kubelet.FeatureGates
	} else {
		delete(config, "featureGates")
	}
	for name, value := range settings {
		config[name] = value
	}
	return yaml.Marshal(config)
}
