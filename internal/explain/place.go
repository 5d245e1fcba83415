package explain

import (
	"path"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// Pod is what is known of a pod beside the kernel's log.
type Pod struct {
	qos.Pod
	// Node is the name of the node that it is bound to.
	Node string
	// ContainerIDs are the ids of the runtime's containers, by container name:
	// the current one and, as far as the status tells, the one before.
	ContainerIDs map[string][]string
	// ConfigHash is the UID that a static pod's cgroup has (the annotation
	// kubernetes.io/config.hash), other than that of its mirror in the API.
	ConfigHash string
	// Status is how it fared, as the API server knows it.
	Status record.Pod
}

// Place is what the path of a memory cgroup says.
type Place struct {
	Path string `json:"path"`
	// Level is what the cgroup stands for: container, pod, qos, kubepods, node,
	// or what another manager calls it: service, scope, docker. Empty: not known.
	Level       string    `json:"level,omitempty"`
	Class       qos.Class `json:"qosClass,omitempty"`
	PodUID      string    `json:"podUID,omitempty"`
	ContainerID string    `json:"containerID,omitempty"`
	// Namespace, Pod and Container are names, where Context.Pods has them.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Unit is the name of a systemd unit or of a container outside Kubernetes.
	Unit string `json:"unit,omitempty"`
}

// placeOf reads a path and looks the pod up.
func placeOf(p string, pods []Pod) Place {
	out := Place{Path: p}
	parsed, ok := qos.ParseCgroupPath(p)
	if !ok {
		out.Level, out.Unit = foreign(p)
		return out
	}
	out.Level, out.Class = string(parsed.Level), parsed.Class
	out.PodUID, out.ContainerID = parsed.PodUID, parsed.ContainerID
	if pod := podAt(p, pods); pod != nil {
		out.Namespace, out.Pod = pod.Namespace, pod.Name
		for name, ids := range pod.ContainerIDs {
			if slices.Contains(ids, out.ContainerID) {
				out.Container = name
			}
		}
	}
	return out
}

// podAt returns the pod whose cgroup the path is in, nil where it is none of
// these.
func podAt(p string, pods []Pod) *Pod {
	parsed, ok := qos.ParseCgroupPath(p)
	if !ok || parsed.PodUID == "" {
		return nil
	}
	for i := range pods {
		if parsed.PodUID == pods[i].UID || parsed.PodUID == pods[i].ConfigHash {
			return &pods[i]
		}
	}
	return nil
}

// foreign reads a path that no kubelet made, by its innermost known part.
func foreign(p string) (level, unit string) {
	parts := strings.Split(p, "/")
	for i := len(parts) - 1; i > 0; i-- {
		name := parts[i]
		stem, isScope := strings.CutSuffix(name, ".scope")
		id, isDocker := strings.CutPrefix(stem, "docker-")
		switch {
		case isScope && isDocker:
			return "docker", id
		case parts[i-1] == "docker":
			return "docker", name
		case isScope:
			return "scope", name
		case strings.HasSuffix(name, ".service"):
			return "service", name
		case strings.HasSuffix(name, ".slice"):
			return "slice", name
		}
	}
	return "", ""
}

// String says whose the cgroup is, in a few words.
func (p Place) String() string {
	pod := "pod " + p.PodUID
	if p.Pod != "" {
		pod = "pod " + path.Join(p.Namespace, p.Pod)
	}
	switch qos.Level(p.Level) {
	case qos.LevelContainer:
		name := p.Container
		if name == "" {
			name = short(p.ContainerID)
		}
		return "container " + name + " of the " + string(p.Class) + " " + pod
	case qos.LevelPod:
		return "the " + string(p.Class) + " " + pod
	case qos.LevelClass:
		return "all " + string(p.Class) + " pods"
	case qos.LevelKubepods:
		return "all pods of the node (kubepods)"
	case qos.LevelNode:
		return "the node's own cgroup, with its daemons"
	}
	switch p.Level {
	case "docker":
		return "the Docker container " + short(p.Unit)
	case "service", "scope", "slice":
		return "the systemd " + p.Level + " " + p.Unit
	}
	return "the cgroup " + p.Path
}

// short abbreviates a container id as runtimes do.
func short(id string) string {
	const shown = 12
	if len(id) > 2*shown {
		return id[:shown]
	}
	return id
}

// RanOut is what ran out of memory.
type RanOut struct {
	// Constraint is what narrowed the kernel's choice, concluded where the log
	// does not print it; empty: not known.
	Constraint oomreport.Constraint `json:"constraint,omitempty"`
	// Place is the memory cgroup that ran out.
	Place *Place `json:"place,omitempty"`
	// Counter is the one whose limit was reached: memory, or memory+swap.
	Counter string             `json:"counter,omitempty"`
	Memory  *oomreport.Counter `json:"memory,omitempty"`
	Swap    *oomreport.Counter `json:"swap,omitempty"`
	MemSw   *oomreport.Counter `json:"memoryPlusSwap,omitempty"`
	// Machine is the size of the machine.
	Machine *oomreport.Machine `json:"machine,omitempty"`
	// Nodes are the memory nodes that the allocation was confined to.
	Nodes string `json:"nodes,omitempty"`
}

// ranOut says what ran out.
func (c *inquiry) ranOut() RanOut {
	r := c.report
	out := RanOut{Constraint: c.constraint, Memory: r.Memory, Swap: r.Swap, MemSw: r.MemSw}
	switch c.constraint {
	case oomreport.ConstraintMemcg:
		if r.Domain != "" {
			p := placeOf(r.Domain, c.context.Pods)
			if v := c.victimMemcg(); p.Level != string(qos.LevelContainer) && v != "" {
				// A kind node's cgroup is what lies above its kubepods.
				if parsed, ok := qos.ParseCgroupPath(v); ok && parsed.Prefix == r.Domain {
					p.Level = string(qos.LevelNode)
				}
			}
			out.Place = &p
		}
		if r.Memory != nil {
			out.Counter = "memory"
			if memswReached(r) {
				out.Counter = "memory+swap"
			}
		}
	case oomreport.ConstraintCpuset, oomreport.ConstraintMemoryPolicy:
		out.Nodes = r.Nodemask
		if c.constraint == oomreport.ConstraintCpuset {
			out.Nodes = r.MemsAllowed
		}
	}
	if c.constraint != oomreport.ConstraintMemcg {
		out.Machine = r.Machine
	}
	return out
}

// memswReached says that it was the limit of memory and swap together that was
// reached, and not that of memory.
func memswReached(r *oomreport.Report) bool {
	if r.MemSw == nil {
		return false
	}
	both, bounded := r.MemSw.Limit.Bytes()
	if !bounded || r.MemSw.Usage < both {
		return false
	}
	own, bounded := r.Memory.Limit.Bytes()
	return !bounded || r.Memory.Usage < own
}

func (c *inquiry) victimMemcg() string {
	if v := c.report.Victim; v != nil {
		return v.Memcg
	}
	return ""
}
