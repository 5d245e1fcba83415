package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// memorySettings are the fields of KubeletConfiguration that bear on what
// happens when memory runs out.
var memorySettings = []string{
	"cgroupDriver", "cgroupsPerQOS", "crashLoopBackOff", "enforceNodeAllocatable", "evictionHard", "evictionMaxPodGracePeriod",
	"evictionMinimumReclaim", "evictionPressureTransitionPeriod", "evictionSoft", "evictionSoftGracePeriod", "failCgroupV1",
	"failSwapOn", "featureGates", "kernelMemcgNotification", "kubeReserved", "memoryManagerPolicy", "memoryReservationPolicy",
	"memorySwap", "memoryThrottlingFactor", "mergeDefaultEvictionSettings", "oomScoreAdj", "qosReserved", "reservedMemory",
	"singleProcessOOMKill", "systemReserved",
}

// ParseSettings reads from a kubelet's /configz what bears on memory: the path
// of each field to its value.
func ParseSettings(configz []byte) (map[string]string, error) {
	var answer struct {
		Config map[string]any `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(configz, &answer); err != nil {
		return nil, fmt.Errorf("read /configz: %w", err)
	}
	if len(answer.Config) == 0 {
		return nil, errors.New("read /configz: it has no kubeletconfig")
	}
	settings := map[string]string{}
	for name, value := range answer.Config {
		if slices.Contains(memorySettings, name) {
			flatten(settings, name, value)
		}
	}
	return settings, nil
}

func flatten(into map[string]string, path string, value any) {
	fields, ok := value.(map[string]any)
	if !ok {
		into[path] = fmt.Sprint(value)
		return
	}
	for name, below := range fields {
		flatten(into, path+"."+name, below)
	}
}
