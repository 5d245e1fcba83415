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
	// Meanwhile is what else happens as soon as memory begins to run out.
	Meanwhile []Action `json:"meanwhile,omitempty"`
	Expect    Expect   `json:"expect,omitzero"`

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
	// alone; by the guest's slow clock where only the machine of make e2e-v2 had
	// all that it needs. 0: nobody has run it yet.
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
	// Swap is what the node has of the machine's swap, none by default. Pods get
	// a share of it where the kubelet's memorySwap is LimitedSwap. A machine with
	// less swap can't run the scenario.
	Swap Memory `json:"swap,omitzero"`
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
	MemorySwap              *MemorySwap       `json:"memorySwap,omitempty"`
	MemoryThrottlingFactor  *float64          `json:"memoryThrottlingFactor,omitempty"`
	FeatureGates            map[string]bool   `json:"featureGates,omitempty"`
}

// MemorySwap is the kubelet's field of that name.
type MemorySwap struct {
	// SwapBehavior is LimitedSwap or NoSwap.
	SwapBehavior string `json:"swapBehavior"`
}

// Configure gives the formulas what the settings change of them.
func (k Kubelet) Configure(n *qos.Node) {
	n.SingleProcessOOMKill = k.SingleProcessOOMKill
	n.LimitedSwap = k.MemorySwap != nil && k.MemorySwap.SwapBehavior == limitedSwap
	n.ThrottlingFactor = k.MemoryThrottlingFactor
	if on, set := k.FeatureGates["MemoryQoS"]; set {
		n.MemoryQoS = &on
	}
}

const limitedSwap = "LimitedSwap"

// CrashLoopBackOff is the kubelet's field of that name (1.32 and later).
type CrashLoopBackOff struct {
	MaxContainerRestartPeriod Duration `json:"maxContainerRestartPeriod"`
}

// Action is one thing that is done while memory runs out: one of its fields.
type Action struct {
	// RestartKubelet restarts the node's kubelet.
	RestartKubelet bool `json:"restartKubelet,omitempty"`
	// Resize gives the only container of a workload another memory limit.
	Resize *Resize `json:"resize,omitempty"`
}

// Resize is an in-place resize (KEP-1287).
type Resize struct {
	Workload string `json:"workload"`
	Limit    Memory `json:"limit"`
}

// Until says when the pressure ends: at the first of these. Where neither kills
// nor evictions are awaited, it lasts until the time is up.
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
	// be killed. Here and in Survive a single container of a pod of several is
	// WORKLOAD/CONTAINER.
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
	// Completed lists workloads that end in phase Succeeded with exit code 0,
	// although the kernel killed a process of theirs.
	Completed []string `json:"completed,omitempty"`
	// JobFailed lists workloads whose Job gives up.
	JobFailed []string `json:"jobFailed,omitempty"`
	// NeverStarts lists workloads whose containers the kernel kills before they
	// run.
	NeverStarts []string `json:"neverStarts,omitempty"`
	// Refused lists workloads that the kubelet does not admit, Admitted those
	// that it does, and that run.
	Refused  []string `json:"refused,omitempty"`
	Admitted []string `json:"admitted,omitempty"`
	// ResizeRefused lists workloads whose resize the kubelet does not carry out.
	ResizeRefused []string `json:"resizeRefused,omitempty"`
	// LimitHit lists workloads that reach their limit over and over, so that the
	// kernel reclaims, and Thrashes those that read back what was reclaimed.
	LimitHit []string `json:"limitHit,omitempty"`
	Thrashes []string `json:"thrashes,omitempty"`
	// BackOff are the times from each kill of a container to its next start.
	BackOff *BackOff `json:"backOff,omitempty"`
	// Findings are names that must be among the findings (docs/evidence.md).
	Findings []string `json:"findings,omitempty"`
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

// Name returns how the expectations call a container: by its workload, or where
// they tell the containers of that apart, WORKLOAD/CONTAINER.
func (e Expect) Name(workload, container string) string {
	for _, name := range slices.Concat(e.Killed, e.Survive) {
		if strings.HasPrefix(name, workload+"/") {
			return workload + "/" + container
		}
	}
	return workload
}

// BackOff is the kubelet's delay before each restart of a container, in order:
// at least that, and not much more.
type BackOff struct {
	Workload string     `json:"workload"`
	Delays   []Duration `json:"delays"`
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
