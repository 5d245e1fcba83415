// Package scenarios holds the scenario file: a node, the pods on it, how memory
// is made to run out, and what is expected to happen. The files of the catalog
// are embedded; Parse reads anybody's own.
package scenarios

import (
	"slices"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
)

// APIVersion and Kind stand at the top of every scenario file.
const (
	APIVersion = "oomlab.dev/v1alpha1"
	Kind       = "Scenario"
)

// Scenario is one story about memory running out.
type Scenario struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	// Title is one sentence that says how the story ends.
	Title string `json:"title"`
	// Story tells, in a few sentences, what happens and why.
	Story string `json:"story"`
	// Source is where the claim was made: an issue, a KEP, a kernel file.
	Source string `json:"source,omitempty"`
	// Needs is what the story holds for.
	Needs Needs `json:"needs,omitzero"`

	Node      Node       `json:"node"`
	Workloads []Workload `json:"workloads"`
	Until     Until      `json:"until"`
	Expect    Expect     `json:"expect,omitzero"`

	// Control marks a scenario that must end red: it proves that the claim it
	// names can fail.
	Control *Control `json:"control,omitempty"`
}

// Metadata names a scenario and says where it belongs.
type Metadata struct {
	// Name is a DNS label, and the name of the file.
	Name string `json:"name"`
	// Labels select scenarios: quick, long, domain:kubepods, qos:burstable … A
	// label lab:NAME says that the story holds in that lab alone.
	Labels []string `json:"labels,omitempty"`
	// Takes is the time that a run takes, on two idle cores and on a kind cluster
	// that is there already, or in the vm lab without KVM where it holds there
	// alone.
	Takes Duration `json:"takes,omitzero"`
}

// Needs is what a scenario needs of the machine. Where it is missing the whole
// scenario is unsupported.
type Needs struct {
	// Kubelet and Kernel are the oldest versions, such as 1.32 and 5.9; by
	// default the oldest that the models know.
	Kubelet string `json:"kubelet,omitempty"`
	Kernel  string `json:"kernel,omitempty"`
	// Cgroup is the version of the memory controller, if it must be one.
	Cgroup int `json:"cgroup,omitempty"`
	// Swap says that the machine must have some.
	Swap bool `json:"swap,omitempty"`
}

// OldestKubelet returns the oldest kubelet that the story holds for.
func (n Needs) OldestKubelet() qos.Version {
	v, err := qos.ParseVersion(n.Kubelet)
	if err != nil {
		return qos.Oldest
	}
	return v
}

// oldestKernel is the oldest one whose rules internal/oom has.
var oldestKernel = oom.Version{Major: 5, Minor: 4}

// OldestKernel returns the oldest kernel that the story holds for.
func (n Needs) OldestKernel() oom.Version {
	v, err := oom.ParseVersion(n.Kernel)
	if err != nil {
		return oldestKernel
	}
	return v
}

// RunsIn reports whether a scenario's labels leave it to the named lab.
func (m Metadata) RunsIn(lab string) bool {
	labs := m.labs()
	return len(labs) == 0 || slices.Contains(labs, lab)
}

func (m Metadata) labs() (names []string) {
	for _, label := range m.Labels {
		if lab, ok := strings.CutPrefix(label, labLabel); ok {
			names = append(names, lab)
		}
	}
	return names
}

const (
	labLabel = "lab:"
	// MachineLab is the only lab where a whole machine may run out of memory.
	MachineLab = "vm"
)

// Node is the machine that the kubelet believes it has.
type Node struct {
	// Memory is the node's capacity and its real limit.
	Memory Memory `json:"memory"`
	// Domain is what runs out: container (which is charged through its pod),
	// pod, kubepods (what the node gives to pods), node (with its daemons), or
	// global, in a virtual machine. It decides the default of Reserved.
	Domain qos.Level `json:"domain"`
	// Reserved is the kubelet's systemReserved memory: kubepods is limited to
	// Memory minus Reserved. By default 512Mi, and nothing for domain node.
	Reserved *Memory `json:"reserved,omitempty"`
	// Kubelet is what differs from the kubelet's defaults.
	Kubelet Kubelet `json:"kubelet,omitzero"`
}

// Kubelet holds fields of KubeletConfiguration, spelled as there. Memory
// eviction is off unless a threshold is given, so that the kernel acts alone.
type Kubelet struct {
	EvictionHard            map[string]string `json:"evictionHard,omitempty"`
	EvictionSoft            map[string]string `json:"evictionSoft,omitempty"`
	EvictionSoftGracePeriod map[string]string `json:"evictionSoftGracePeriod,omitempty"`
	CrashLoopBackOff        *CrashLoopBackOff `json:"crashLoopBackOff,omitempty"`
	SingleProcessOOMKill    *bool             `json:"singleProcessOOMKill,omitempty"`
	FeatureGates            map[string]bool   `json:"featureGates,omitempty"`
}

// CrashLoopBackOff is the kubelet's field of that name (1.32 and later).
type CrashLoopBackOff struct {
	MaxContainerRestartPeriod Duration `json:"maxContainerRestartPeriod"`
}

// Workload is one pod, or several equal ones. A pod of one container says what
// it needs directly; a pod of several lists them.
type Workload struct {
	Name string `json:"name"`
	// Replicas is the number of equal pods: NAME-1, NAME-2 …
	Replicas int `json:"replicas,omitempty"`
	// RestartPolicy is Always (the default), OnFailure or Never.
	RestartPolicy string `json:"restartPolicy,omitempty"`

	// Resources are those of the pod as a whole (KEP-2837, kubelet 1.34 and
	// later), next to those of its containers.
	Resources *PodResources `json:"resources,omitempty"`

	Container  `json:",inline"`
	Containers []Container `json:"containers,omitempty"`
}

// PodResources are a pod's spec.resources.
type PodResources struct {
	Requests Resources `json:"requests,omitzero"`
	Limits   Resources `json:"limits,omitzero"`
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
	// AfterRestart says what a restarted balloon does: stay "small" (the
	// default), or do everything "again".
	AfterRestart string `json:"afterRestart,omitempty"`
}

// Resources of a container, as in a pod.
type Resources struct {
	Memory *Memory `json:"memory,omitempty"`
	CPU    *CPU    `json:"cpu,omitempty"`
}

// Until says when the pressure ends: at the first of these.
type Until struct {
	// Kills is the number of killed processes.
	Kills int `json:"kills,omitempty"`
	// Evictions is the number of evicted pods.
	Evictions int `json:"evictions,omitempty"`
	// Within bounds the wait for them; 60s by default.
	Within Duration `json:"within,omitzero"`
}

// Expect is what the scenario claims beyond the model: that the kernel kills
// whom the model predicts is asserted in every scenario and is not repeated.
type Expect struct {
	// Killed lists workloads in the order of their first kill; nobody else may
	// be killed.
	Killed []string `json:"killed,omitempty"`
	// Survive lists workloads that no kill may touch.
	Survive []string `json:"survive,omitempty"`
	// Kills is the exact number of killed processes.
	Kills *int `json:"kills,omitempty"`
	// FewestKills: each victim held more memory than any other candidate did.
	FewestKills bool `json:"fewestKills,omitempty"`
	// Restarted lists workloads that are restarted in place: same UID, same
	// node, restartCount up, exit code 137, reason OOMKilled. Where the kernel's
	// log has the kill and the runtime says Error, that is a finding.
	Restarted []string `json:"restarted,omitempty"`
	// Failed lists workloads that end in phase Failed, without a restart.
	Failed []string `json:"failed,omitempty"`
	// Evicted lists workloads that the kubelet evicts, in this order.
	Evicted []string `json:"evicted,omitempty"`
	// OOMCgroup and TaskCgroup are the levels of the cgroup that ran out and
	// of the victim's, as the kernel logs them: container, pod, kubepods, node.
	OOMCgroup  qos.Level `json:"oomCgroup,omitempty"`
	TaskCgroup qos.Level `json:"taskCgroup,omitempty"`
	// HighestOOMScore is the workload whose /proc/PID/oom_score is the highest
	// before the pressure, although it is not the first victim.
	HighestOOMScore string `json:"highestOOMScore,omitempty"`
}

// Control says why a scenario must fail, and which claim must say so.
type Control struct {
	// Claim is the claim that must fail, as the verdict names it.
	Claim string `json:"claim"`
	// Sigkill names a workload that oomlab kills with SIGKILL in place of
	// pressing: a death that looks like an OOM kill and is none.
	Sigkill string `json:"sigkill,omitempty"`
	// RestartKubelet restarts the node's kubelet while memory runs out.
	RestartKubelet bool `json:"restartKubelet,omitempty"`
	// LoseKernelLog lets the records about the first kill pass unread, as if the
	// kernel had overwritten them.
	LoseKernelLog bool `json:"loseKernelLog,omitempty"`
}

// DefaultReserved is what a node keeps for its daemons, so that kubepods runs
// out before the node does. A kind worker with a 1.37 kubelet uses about 300 MiB.
const DefaultReserved = 512 * mem.MiB

// Reservation returns the kubelet's systemReserved memory.
func (n Node) Reservation() mem.Bytes {
	switch {
	case n.Reserved != nil:
		return n.Reserved.Bytes
	case n.Domain == qos.LevelNode || n.Domain == qos.LevelGlobal:
		return 0
	}
	return DefaultReserved
}

// Kubepods returns the limit of the kubepods cgroup.
func (n Node) Kubepods() mem.Bytes { return n.Memory.Bytes - n.Reservation() }

// Deadline returns how long the pressure may take.
func (u Until) Deadline() time.Duration {
	if u.Within.Duration == 0 {
		return time.Minute
	}
	return u.Within.Duration
}
