package scenarios

import "github.com/oomlab/oomlab/internal/qos"

// Workload is one pod, or several equal ones. A pod of one container says what
// it needs directly; a pod of several lists them.
type Workload struct {
	Name string `json:"name"`
	// Replicas is the number of equal pods: NAME-1, NAME-2 …
	Replicas int `json:"replicas,omitempty"`
	// RestartPolicy is Always (the default), OnFailure or Never.
	RestartPolicy string `json:"restartPolicy,omitempty"`
	// Priority is that of the pod's PriorityClass, which is made for it.
	// PriorityClassName names one that every cluster has:
	// system-node-critical or system-cluster-critical.
	Priority          int32  `json:"priority,omitempty"`
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// Resources are those of the pod as a whole (KEP-2837, kubelet 1.34 and
	// later), next to those of its containers.
	Resources *PodResources `json:"resources,omitempty"`
	// EmptyDir is a volume that the containers share: what they write of the
	// kind tmpfs is there.
	EmptyDir *EmptyDir `json:"emptyDir,omitempty"`
	// Static makes it a static pod: a file on the node, which the kubelet runs by
	// itself and never evicts.
	Static bool `json:"static,omitempty"`
	// Job makes the pod one of a Job, which replaces it when it fails.
	Job *Job `json:"job,omitempty"`
	// After makes the pod only when the node reports this condition:
	// MemoryPressure.
	After string `json:"after,omitempty"`

	Container  `json:",inline"`
	Containers []Container `json:"containers,omitempty"`
	// InitContainers run one after the other before the containers do; those
	// with restartPolicy Always, sidecars, go on beside them.
	InitContainers []InitContainer `json:"initContainers,omitempty"`
}

// PodResources are a pod's spec.resources.
type PodResources struct {
	Requests Resources `json:"requests,omitzero"`
	Limits   Resources `json:"limits,omitzero"`
}

// EmptyDir is a volume of a pod, as in a pod.
type EmptyDir struct {
	// Medium is Memory.
	Medium string `json:"medium"`
	// SizeLimit is the size of the tmpfs; by default all that pods may have.
	SizeLimit *Memory `json:"sizeLimit,omitempty"`
}

// Job is a Job of one pod.
type Job struct {
	// BackoffLimit is how often a failed pod is replaced.
	BackoffLimit int32 `json:"backoffLimit"`
}

// InitContainer is a container that starts before the others.
type InitContainer struct {
	Container `json:",inline"`
	// RestartPolicy Always makes it a sidecar (KEP-753).
	RestartPolicy string `json:"restartPolicy,omitempty"`
}

// Container is one container with its balloon.
type Container struct {
	// Name is the container's own where a pod has several.
	Name     string    `json:"name,omitempty"`
	Requests Resources `json:"requests,omitzero"`
	Limits   Resources `json:"limits,omitzero"`
	// Balloon is the plan that runs before the prediction is made: a text, or in
	// the file also a list of its steps.
	Balloon string `json:"balloon,omitempty"`
	// Press is the plan that runs afterwards, from what the balloon holds on,
	// and makes memory run out.
	Press string `json:"press,omitempty"`
	// Beside are further processes of the container, each with the plan of its
	// own balloon. They are children of its first process.
	Beside []string `json:"beside,omitempty"`
	// OOMScoreAdj is given to the container in place of the kubelet's score,
	// -1000 to 1000. No pod can ask for that: only labs without a kubelet can.
	OOMScoreAdj *int `json:"oomScoreAdj,omitempty"`
	// Exec is a plan like Press, of a second process that is started in the
	// container as kubectl exec does.
	Exec string `json:"exec,omitempty"`
	// Ends ends the container with its plan, instead of holding for ever.
	Ends bool `json:"ends,omitempty"`
	// AfterRestart says what a restarted balloon does: stay "small" (the
	// default), do everything "again", or "end" at once, with exit code 0.
	AfterRestart string `json:"afterRestart,omitempty"`
	// IgnoreChildren lets the first process of a plan with children end with
	// exit code 0 although a child was killed.
	IgnoreChildren bool `json:"ignoreChildren,omitempty"`
	// IgnoreSIGTERM makes the first process as deaf as any that is process 1
	// of its namespace and has no handler.
	IgnoreSIGTERM bool `json:"ignoreSIGTERM,omitempty"`
	// KeepFiles leaves what was written to the emptyDir there when the
	// container ends.
	KeepFiles bool `json:"keepFiles,omitempty"`
	// LivenessProbe makes the kubelet restart the container.
	LivenessProbe *Probe `json:"livenessProbe,omitempty"`

	kind qos.Kind
}

// Probe fails, every second, while the container holds as much or more.
type Probe struct {
	MemoryBelow Memory `json:"memoryBelow"`
}

// Resources of a container, as in a pod.
type Resources struct {
	Memory *Memory `json:"memory,omitempty"`
	CPU    *CPU    `json:"cpu,omitempty"`
}

// Kind says in which list of the pod the container stands.
func (c Container) Kind() qos.Kind { return c.kind }

// Executed returns the container's second process as if it were a container of
// its own, with nothing but that.
func (c Container) Executed() Container {
	return Container{Name: c.Name, Requests: c.Requests, Limits: c.Limits, Press: c.Exec, Ends: c.Ends}
}

// Presses reports whether a process of the container makes memory run out.
func (c Container) Presses() bool { return c.Press != "" || c.Exec != "" }
