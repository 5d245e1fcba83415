package kindlab

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// statsTimeout bounds the wait for the kubelet's own measurements, which it
// takes every 10 s, or 15 s of a container that does little (housekeeping of
// cAdvisor).
const statsTimeout = 40 * time.Second

// waitMeasured waits until the kubelet itself has measured what the balloons
// hold. It ranks by its latest measurements, and would take a pod that has just
// been blown up for an empty one.
func (n *node) waitMeasured(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience.With(statsTimeout))
	defer cancel()
	held := map[string]mem.Bytes{}
	for _, w := range n.scenario.Workloads {
		if w.After != "" || w.Job != nil {
			continue
		}
		anon, err := anonHeld(w)
		if err != nil {
			return err
		}
		for _, pod := range w.PodNames() {
			held[n.apiName(pod)] = anon
		}
	}
	return kubelet.Poll(ctx, 500*time.Millisecond, func(ctx context.Context) (string, error) {
		measured, err := n.cluster.workingSets(ctx, n.worker)
		if err != nil {
			return "", err
		}
		for pod, want := range held {
			if got := measured[pod]; got < want*9/10 {
				return fmt.Sprintf("the kubelet has measured %s in pod %s, which holds %s", got.Human(), pod, want.Human()), nil
			}
		}
		return "", nil
	})
}

// anonHeld is what the containers of a pod hold in anonymous memory before the
// pressure.
func anonHeld(w scenarios.Workload) (sum mem.Bytes, err error) {
	for _, c := range w.Settled() {
		balloon, _, err := c.Curves()
		if err != nil {
			return 0, err
		}
		sum += balloon.Levels(balloon.Duration())[plan.Anon]
	}
	return sum, nil
}

// workingSets returns what the kubelet has measured of each pod, by name.
func (c *Cluster) workingSets(ctx context.Context, worker string) (map[string]mem.Bytes, error) {
	raw, err := c.Client.CoreV1().RESTClient().Get().Resource("nodes").Name(worker).SubResource("proxy").Suffix("stats/summary").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet on %s for its measurements: %w", worker, err)
	}
	var summary struct {
		Pods []struct {
			PodRef struct {
				Name string `json:"name"`
			} `json:"podRef"`
			Memory struct {
				WorkingSetBytes mem.Bytes `json:"workingSetBytes"`
			} `json:"memory"`
		} `json:"pods"`
	}
	if err := json.Unmarshal(raw, &summary); err != nil {
		return nil, fmt.Errorf("read the measurements of the kubelet on %s: %w", worker, err)
	}
	sets := map[string]mem.Bytes{}
	for _, p := range summary.Pods {
		sets[p.PodRef.Name] = p.Memory.WorkingSetBytes
	}
	return sets, nil
}
