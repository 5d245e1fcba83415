// Package qos is the kubelet's side of an OOM: the QoS class of a pod, the
// oom_score_adj of its containers, the cgroups they run in and the limits of
// those cgroups, for kubelets 1.27 to 1.37.
//
// A Pod is what the kubelet sees after admission: the API server has already
// copied limits into missing requests (Defaulted does the same).
package qos

import (
	"errors"
	"fmt"

	"github.com/oomlab/oomlab/internal/mem"
)

// Class is a pod's QoS class, spelled as in status.qosClass.
type Class string

// The three classes. The empty Class means "not known, compute it".
const (
	Guaranteed Class = "Guaranteed"
	Burstable  Class = "Burstable"
	BestEffort Class = "BestEffort"
)

// MilliCPU is an amount of CPU time in thousandths of a core.
type MilliCPU int64

// Resources are amounts of the two resources that decide a QoS class. Zero is
// the same as not set, as it is for the kubelet.
type Resources struct {
	Memory mem.Bytes `json:"memoryBytes,omitempty"`
	CPU    MilliCPU  `json:"cpuMillis,omitempty"`
}

// Requirements are the requests and limits of a container or of a pod.
type Requirements struct {
	Requests Resources `json:"requests,omitzero"`
	Limits   Resources `json:"limits,omitzero"`
}

// Kind says in which list of the pod spec a container stands.
type Kind string

// The kinds of containers. The zero Kind is Regular.
const (
	Regular   Kind = ""
	Init      Kind = "init"
	Sidecar   Kind = "sidecar" // an init container with restartPolicy Always
	Ephemeral Kind = "ephemeral"
)

// Container is one container of a pod.
type Container struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind,omitempty"`
	Requirements
}

// Pod is what decides a pod's fate. Init containers and sidecars stand in
// Containers in the order in which they start.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`

	Containers []Container `json:"containers"`
	// Resources are spec.resources, the pod-level requests and limits
	// (KEP-2837). Nil means that the field is absent; for kubelets up to
	// 1.36 an empty one is not the same.
	Resources *Requirements `json:"resources,omitempty"`
	// Overhead is spec.overhead, from the RuntimeClass.
	Overhead Resources `json:"overhead,omitzero"`

	Priority      int32  `json:"priority,omitempty"`
	PriorityClass string `json:"priorityClass,omitempty"`
	Static        bool   `json:"static,omitempty"` // from a file or URL, not the API server
	Mirror        bool   `json:"mirror,omitempty"` // the API object of a static pod

	// StatusClass is status.qosClass, set when the pod was created. It wins
	// over what would be computed today.
	StatusClass Class `json:"statusClass,omitempty"`
}

// systemCritical is the lowest priority of system-cluster-critical and
// system-node-critical (SystemCriticalPriority, pkg/apis/scheduling).
const systemCritical = 2_000_000_000

// IsCritical reports whether the kubelet never evicts the pod: static pods,
// mirror pods and priorities from 2,000,000,000 (IsCriticalPod in
// pkg/kubelet/types).
func (p Pod) IsCritical() bool {
	return p.Static || p.Mirror || p.Priority >= systemCritical
}

// IsNodeCritical reports whether the pod scores like a Guaranteed one whatever
// its class (IsNodeCriticalPod in pkg/kubelet/types).
func (p Pod) IsNodeCritical() bool {
	return p.IsCritical() && p.PriorityClass == "system-node-critical"
}

// Validate collects what no API server would have let through and the model
// cannot compute with.
func (p Pod) Validate() error {
	var errs []error
	regular := 0
	for _, c := range p.Containers {
		switch c.Kind {
		case Regular:
			regular++
		case Init, Sidecar:
		case Ephemeral:
			if c.Requirements != (Requirements{}) {
				errs = append(errs, fmt.Errorf("pod %s: ephemeral container %s has resources: remove them", p.Name, c.Name))
			}
		default:
			errs = append(errs, fmt.Errorf("pod %s: container %s: kind %q: want init, sidecar, ephemeral or nothing", p.Name, c.Name, c.Kind))
		}
		errs = append(errs, c.validate(fmt.Sprintf("pod %s: container %s", p.Name, c.Name)))
	}
	if regular == 0 {
		errs = append(errs, fmt.Errorf("pod %s has no regular container: add one", p.Name))
	}
	if p.Resources != nil {
		errs = append(errs, p.Resources.validate(fmt.Sprintf("pod %s: pod-level resources", p.Name)))
	}
	switch p.StatusClass {
	case "", Guaranteed, Burstable, BestEffort:
	default:
		errs = append(errs, fmt.Errorf("pod %s: QoS class %q: want Guaranteed, Burstable or BestEffort", p.Name, p.StatusClass))
	}
	return errors.Join(errs...)
}

func (r Requirements) validate(where string) error {
	var errs []error
	if r.Requests.Memory < 0 || r.Limits.Memory < 0 || r.Requests.CPU < 0 || r.Limits.CPU < 0 {
		errs = append(errs, fmt.Errorf("%s: negative request or limit: want at least 0", where))
	}
	if r.Limits.Memory > 0 && r.Requests.Memory > r.Limits.Memory {
		errs = append(errs, fmt.Errorf("%s: memory request %s above its limit %s: lower the request", where, r.Requests.Memory, r.Limits.Memory))
	}
	if r.Limits.CPU > 0 && r.Requests.CPU > r.Limits.CPU {
		errs = append(errs, fmt.Errorf("%s: cpu request %dm above its limit %dm: lower the request", where, r.Requests.CPU, r.Limits.CPU))
	}
	return errors.Join(errs...)
}
