//go:build !v1_34 && !v1_35 && !v1_36

package conformance

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
)

const minor = 37

func podCgroup(p *v1.Pod, memoryQoS bool, factor float64) *cm.ResourceConfig {
	rc := cm.ResourceConfigForPod(p, true, cm.QuotaPeriod, memoryQoS, config.TieredReservationMemoryReservationPolicy)
	if memoryQoS {
		cm.ApplyPodLevelMemoryHigh(p, rc, factor)
	}
	return rc
}

func start(m eviction.Manager, disk eviction.DiskInfoProvider, active eviction.ActivePodsFunc, cleaned eviction.PodCleanedUpFunc) {
	m.Start(context.Background(), disk, active, cleaned, 0)
}
