//go:build v1_36

package conformance

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
)

const minor = 36

func podCgroup(p *v1.Pod, memoryQoS bool, _ float64) *cm.ResourceConfig {
	return cm.ResourceConfigForPod(p, true, cm.QuotaPeriod, memoryQoS, config.TieredReservationMemoryReservationPolicy)
}

func start(m eviction.Manager, disk eviction.DiskInfoProvider, active eviction.ActivePodsFunc, cleaned eviction.PodCleanedUpFunc) {
	m.Start(context.Background(), disk, active, cleaned, 0)
}
