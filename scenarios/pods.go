package scenarios

import (
	"fmt"

	"github.com/oomlab/oomlab/internal/qos"
)

// PodNames returns the names of the workload's pods: its own name, or with
// replicas NAME-1, NAME-2 …
func (w Workload) PodNames() []string {
	if w.Replicas == 0 {
		return []string{w.Name}
	}
	names := make([]string, w.Replicas)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", w.Name, i+1)
	}
	return names
}

// EachContainer returns the workload's containers, init containers first; the
// only one of a pod that describes it directly is called as the workload is.
func (w Workload) EachContainer() []Container {
	var all []Container
	for _, c := range w.InitContainers {
		c.kind = qos.Init
		if c.RestartPolicy == "Always" {
			c.kind = qos.Sidecar
		}
		all = append(all, c.Container)
	}
	if len(w.Containers) > 0 {
		return append(all, w.Containers...)
	}
	c := w.Container
	c.Name = w.Name
	return append(all, c)
}

// Settled returns the containers that run when all is quiet before memory runs
// out: not those that have done their work by then, and not those that wait for
// an init container that presses.
func (w Workload) Settled() []Container {
	var running []Container
	for _, c := range w.EachContainer() {
		switch {
		case c.kind == qos.Init && c.Presses():
			return append(running, c)
		case c.kind != qos.Init:
			running = append(running, c)
		}
	}
	return running
}

// Pod returns what the kubelet sees of one of the workload's pods, once the API
// server has copied limits into the requests that are missing.
func (w Workload) Pod(name string) qos.Pod {
	pod := qos.Pod{Name: name, Priority: w.Priority, PriorityClass: w.PriorityClassName, Static: w.Static}
	switch w.PriorityClassName {
	case "system-node-critical":
		pod.Priority = systemNodeCritical
	case "system-cluster-critical":
		pod.Priority = systemClusterCritical
	}
	for _, c := range w.EachContainer() {
		pod.Containers = append(pod.Containers, qos.Container{
			Name: c.Name, Kind: c.kind,
			Requirements: qos.Requirements{Requests: c.Requests.qos(), Limits: c.Limits.qos()},
		})
	}
	if r := w.Resources; r != nil {
		pod.Resources = &qos.Requirements{Requests: r.Requests.qos(), Limits: r.Limits.qos()}
	}
	return pod.Defaulted()
}

// ScoreOf returns the score of a container of the workload's pod: the
// kubelet's, or the one that the scenario gives it.
func (w Workload) ScoreOf(n qos.Node, pod qos.Pod, c qos.Container) int {
	for _, own := range w.EachContainer() {
		if own.Name == c.Name && own.OOMScoreAdj != nil {
			return *own.OOMScoreAdj
		}
	}
	return n.OOMScoreAdj(pod, c)
}

// SetsScore reports whether a container of the scenario has a score that no
// kubelet gives.
func (s *Scenario) SetsScore() bool {
	for _, w := range s.Workloads {
		for _, c := range w.EachContainer() {
			if c.OOMScoreAdj != nil {
				return true
			}
		}
	}
	return false
}

// The priorities of the classes that every cluster has (pkg/apis/scheduling).
const (
	systemClusterCritical = 2_000_000_000
	systemNodeCritical    = 2_000_001_000
)

func (r Resources) qos() qos.Resources {
	var q qos.Resources
	if r.Memory != nil {
		q.Memory = r.Memory.Bytes
	}
	if r.CPU != nil {
		q.CPU = qos.MilliCPU(r.CPU.Millicores)
	}
	return q
}

// Workload returns the workload of that name.
func (s *Scenario) Workload(name string) (Workload, bool) {
	for _, w := range s.Workloads {
		if w.Name == name {
			return w, true
		}
	}
	return Workload{}, false
}
