// Package record is the run record: one JSON document that holds everything
// about a run: the host, the scenario, what was predicted, what was seen, and
// the verdict. It is written after every run and read by show, compare and
// whoever doubts a verdict.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// Schema is the version of the format. It changes when a reader of the old one
// would misunderstand the new one.
const Schema = Family + "v1"

// Family begins the schema of every run record, of whatever version.
const Family = "oomlab.dev/record/"

// Record is one run of one scenario.
type Record struct {
	Schema         string              `json:"schema"`
	Started        time.Time           `json:"started"`
	ElapsedSeconds float64             `json:"elapsedSeconds"`
	Lab            string              `json:"lab"`
	Host           Host                `json:"host"`
	VM             *VM                 `json:"vm,omitempty"`
	Node           Node                `json:"node"`
	Scenario       *scenarios.Scenario `json:"scenario"`
	// Error is why the run could not be finished. It then proves nothing.
	Error string `json:"error,omitempty"`

	// Limits are the memory cgroups of the pods, by formula and as found.
	Limits []Limit `json:"limits,omitempty"`
	// Scores compares oom_score_adj and oom_score with the formulas.
	Scores []Score `json:"scores"`
	// Snapshot is every process of the node right before the pressure.
	Snapshot oom.Snapshot `json:"snapshot"`
	// Owners says whose the processes of the snapshot are, by pid.
	Owners map[int]Owner `json:"owners"`
	// Forecast is whom the kernel kills, by the model, from the snapshot alone.
	Forecast *oom.Sequence `json:"forecast,omitempty"`

	// ScoreWrites tell who wrote which process's oom_score_adj on the node, from
	// before its pods were started, in that order.
	ScoreWrites []ScoreWrite `json:"scoreWrites,omitempty"`

	Kills    []Kill    `json:"kills"`
	Findings []Finding `json:"findings,omitempty"`
	Sources  []Source  `json:"sources"`
	// Before and After are the pods before the pressure and at the end.
	Before []Pod `json:"podsBefore"`
	After  []Pod `json:"podsAfter"`
	// KubernetesEvents were told of the pods and the node meanwhile.
	KubernetesEvents []KubernetesEvent `json:"kubernetesEvents,omitempty"`
	// Jobs are those of the scenario at the end.
	Jobs []Job `json:"jobs,omitempty"`
	// Reclaim is what pods that were short of memory had to give up meanwhile.
	Reclaim []Reclaim `json:"reclaim,omitempty"`
	// Curve is the memory of what was to run out, over time.
	Curve *Curve `json:"curve,omitempty"`
	// DaemonsBefore and DaemonsAfter are what must live through it all.
	DaemonsBefore Daemons  `json:"daemonsBefore"`
	DaemonsAfter  Daemons  `json:"daemonsAfter"`
	Conditions    []string `json:"conditionsSeen,omitempty"`

	Timeline []Event `json:"timeline"`
	Claims   []Claim `json:"claims"`
	Verdict  Verdict `json:"verdict"`
}

// Host is what a verdict may depend on.
type Host struct {
	Kernel        string    `json:"kernel"`
	CPUs          int       `json:"cpus"`
	MemTotal      mem.Bytes `json:"memTotalBytes"`
	SwapTotal     mem.Bytes `json:"swapTotalBytes"`
	CgroupVersion int       `json:"cgroupVersion"`
	THP           string    `json:"transparentHugepage,omitempty"`
	LRUGen        string    `json:"lruGen,omitempty"`
	// HugePages is what is set aside for huge pages; pods can't have it.
	HugePages mem.Bytes `json:"hugePagesBytes,omitempty"`
	// LowestAdj is the lowest oom_score_adj that a process may be given here:
	// -1000, or what the missing CAP_SYS_RESOURCE leaves.
	LowestAdj int `json:"lowestOOMScoreAdj"`
	// LowestAdjProof says how that was probed.
	LowestAdjProof string `json:"lowestOOMScoreAdjProof"`
}

// VM is the virtual machine of a run. Host then describes the guest, and every
// other time of the record is by the guest's clock.
type VM struct {
	// KernelName is the package that the kernel came from, or its file.
	KernelName   string    `json:"kernelName"`
	KernelSHA256 string    `json:"kernelSHA256"`
	QEMU         string    `json:"qemu"`        // its version
	Accelerator  string    `json:"accelerator"` // kvm, tcg
	Memory       mem.Bytes `json:"memoryBytes"`
	// Slowdown is how many seconds one of the guest's clock took; 0 is 1.
	Slowdown int `json:"slowdown,omitempty"`
	// Seed is set where the run was deterministic: then all of the record but
	// Started and ElapsedSeconds is the same whenever it is run, by the same
	// oomlab with the same kernel and QEMU.
	Seed *int `json:"seed,omitempty"`
	// Started and ElapsedSeconds are by the clock of whoever ran it.
	Started        time.Time `json:"started"`
	ElapsedSeconds float64   `json:"elapsedSeconds"`
}

// Node is the node a scenario ran on.
type Node struct {
	Name     string    `json:"name"`
	Capacity mem.Bytes `json:"capacityBytes"`
	// Cgroup is the node's own memory cgroup, Kubepods the one of its pods.
	Cgroup   string            `json:"cgroup"`
	Kubepods string            `json:"kubepods"`
	Versions map[string]string `json:"versions,omitempty"` // kubelet, containerd, runc, kind, engine
	// Kubelet is the kubelet that the formulas are those of: in the cgroup lab
	// there is no other.
	Kubelet *qos.Node `json:"kubelet,omitempty"`
	// Settings are the fields of KubeletConfiguration that bear on memory, as
	// the kubelet itself says that it runs with them; a path of keys to a
	// value, such as evictionHard.memory.available. Nil: nobody was asked.
	Settings map[string]string `json:"kubeletSettings,omitempty"`
	// NoKubelet says why nobody restarts and evicts here, where nobody does.
	NoKubelet string `json:"noKubelet,omitempty"`
}

// Owner says whose a process or cgroup is.
type Owner struct {
	Workload  string `json:"workload,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Level is the cgroup's: container, pod, kubepods, node; "outside" where it
	// is not on the node at all.
	Level qos.Level `json:"level"`
}

// Outside is the level of what is not on the node at all.
const Outside qos.Level = "outside"

// String names the owner as people do.
func (o Owner) String() string {
	switch {
	case o.Container != "" && o.Container != o.Workload:
		return o.Pod + "/" + o.Container
	case o.Pod != "":
		return o.Pod
	}
	return "the " + string(o.Level) + " cgroup"
}

// Reclaim counts what the pressure did to a pod without a kill.
type Reclaim struct {
	Owner Owner `json:"owner"`
	// LimitHits is how often a limit was reached and the kernel reclaimed.
	LimitHits int64 `json:"limitHits"`
	// RefaultedPages are pages of files that were read again after that.
	RefaultedPages int64 `json:"refaultedPages"`
}

// Curve is what a cgroup held from the start of the watch to its end.
type Curve struct {
	Cgroup string `json:"cgroup"`
	// StallOf says whose tasks the stalls are of: the cgroup's, or where the
	// kernel does not tell those apart (cgroup v1) the machine's.
	StallOf string         `json:"stallOf,omitempty"`
	Samples []MemorySample `json:"samples"`
	Error   string         `json:"error,omitempty"` // why it ended early
}

// MemorySample is a moment of a curve. File includes Shmem; what Usage has
// beyond Anon and File is the kernel's own memory.
type MemorySample struct {
	AtSeconds float64   `json:"atSeconds"`
	Usage     mem.Bytes `json:"usageBytes"`
	Anon      mem.Bytes `json:"anonBytes"`
	File      mem.Bytes `json:"fileBytes"`
	Shmem     mem.Bytes `json:"shmemBytes"`
	Stalled   *Stall    `json:"stalled,omitempty"`
}

// Stall is for how long some task, and for how long every one, could not go on
// for lack of memory (PSI). Both are counters: use differences.
type Stall struct {
	SomeSeconds float64 `json:"someSeconds"`
	FullSeconds float64 `json:"fullSeconds"`
}

// Limit is what bounds a memory cgroup and protects it, by formula and as
// found: two facts. Absent is the kernel's default.
type Limit struct {
	Owner Owner `json:"owner"`
	// QoSClass is that of the pods below; empty for kubepods.
	QoSClass string     `json:"qosClass,omitempty"`
	Formula  qos.Limits `json:"byFormula"`
	Observed qos.Limits `json:"observed"`
}

// Score is one process's scores, by formula and as observed: two facts.
type Score struct {
	Owner     Owner  `json:"owner"`
	When      string `json:"when"` // settled, restarted
	PID       int    `json:"pid"`
	QoSClass  string `json:"qosClass"`
	Formula   int    `json:"oomScoreAdjByFormula"`
	Observed  int    `json:"oomScoreAdjObserved"`
	InPod     *int   `json:"oomScoreAdjReadInPod,omitempty"`
	OOMScore  int    `json:"oomScoreObserved"`
	OOMModel  int    `json:"oomScoreByFormula"`
	OOMInPod  *int   `json:"oomScoreReadInPod,omitempty"`
	Explained string `json:"explained,omitempty"` // why Formula and Observed differ, if a probe knows
}

// ScoreWrite is one write of a process's oom_score_adj, as the kernel traces it.
// Who inherits a score writes none: what runc gives itself, the container has.
type ScoreWrite struct {
	Time        time.Time `json:"time"`
	PID         int       `json:"pid"`
	Name        string    `json:"name"`
	Owner       Owner     `json:"owner"`
	OOMScoreAdj int       `json:"oomScoreAdj"`
	// By is who wrote it, often the process itself, by the name of its program:
	// empty where it had ended too soon.
	By oomreport.Process `json:"by"`
}

// Kill is one process that the OOM killer killed, put together from every
// source that saw it.
type Kill struct {
	// Order is the kill's place in the kernel's sequence, from 1.
	Order int `json:"order"`
	// Decision counts the kernel's choices, from 1: the processes of one group
	// kill share it.
	Decision int `json:"decision"`
	// Time is that of the kernel's mark, or without a trace that of its log.
	Time time.Time `json:"time"`
	// Marked is when the kernel chose the victim, by the trace's clock; Recorded
	// is when this record had the kill. Either is missing where its source is.
	Marked   *time.Time `json:"marked,omitempty"`
	Recorded *time.Time `json:"recorded,omitempty"`
	PID      int        `json:"pid"`
	Name     string     `json:"name"`
	Owner    Owner      `json:"owner"`
	// Main says that it was the first process of its container, with which the
	// container ends.
	Main bool `json:"mainProcess"`
	// OOMCgroup ran out, TaskCgroup was the victim's. Both are empty where the
	// kernel's report was suppressed by its rate limit, and OOMCgroup where the
	// whole machine ran out (OOMLevel global).
	OOMCgroup   string    `json:"oomCgroup,omitempty"`
	TaskCgroup  string    `json:"taskCgroup,omitempty"`
	OOMLevel    qos.Level `json:"oomLevel,omitempty"`
	OOMScoreAdj int       `json:"oomScoreAdj"`
	// Freed is what the victim held: anonymous, file and shared resident memory.
	Freed mem.Bytes `json:"freedBytes"`
	// Group says that it died because memory.oom.group is set.
	Group bool `json:"group,omitempty"`
	// Uncharged is when the victim's memory was seen to be given back.
	Uncharged *time.Time `json:"uncharged,omitempty"`
	// Needless says that the memory of the victim before had not been given
	// back yet: without this kill, that would have been enough.
	Needless bool `json:"needless,omitempty"`
	// RestartedAfterSeconds is the time until the container had a first process
	// again; nil if that was not seen, or if another process was killed.
	RestartedAfterSeconds *float64 `json:"restartedAfterSeconds,omitempty"`
	// Sources are the witnesses: kmsg, trace, cgroup, runtime (reconcile).
	Sources []string `json:"sources"`
	// Report is the kernel's own, with its table.
	Report *oomreport.Report `json:"report,omitempty"`
}

// Latency is how long after the kernel's choice this record had the kill.
func (k Kill) Latency() (time.Duration, bool) {
	if k.Marked == nil || k.Recorded == nil {
		return 0, false
	}
	return k.Recorded.Sub(*k.Marked), true
}

// Finding is something that a reader must know and no claim is about, such as
// sources that disagree. Names are documented in docs/evidence.md.
type Finding struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Source says how well one source of evidence could see: kmsg, trace, cgroup,
// runtime, and scores, which tells of no kills.
type Source struct {
	Name string `json:"name"`
	// Lost is the number of records that the source dropped.
	Lost  uint64 `json:"lost"`
	Error string `json:"error,omitempty"` // why the source was not available
}

// Pod is a pod as its runtime tells.
type Pod struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Workload  string `json:"workload"`
	UID       string `json:"uid"`
	Node      string `json:"node"`
	QoSClass  string `json:"qosClass"`
	Phase     string `json:"phase"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
	// Terminated is the message of the condition DisruptionTarget whose reason
	// is TerminationByKubelet: the kubelet's word that it ended the pod.
	Terminated string `json:"terminationByKubelet,omitempty"`
	// Resize is what the pod's conditions say of an in-place resize that has not
	// been carried out.
	Resize     string      `json:"resize,omitempty"`
	Containers []Container `json:"containers"`
}

// Evicted reports whether the kubelet evicted the pod. Reason Evicted comes with
// phase Failed, and is missing where each container answered SIGTERM with exit
// code 0: then the pod ends as Succeeded (kubernetes/kubernetes#120182).
func (p Pod) Evicted() bool { return !p.Refused() && (p.Reason == "Evicted" || p.Terminated != "") }

// Refused reports whether the kubelet did not admit the pod for a condition of
// its node, for which it gives the reason Evicted, too (evictionManager.Admit,
// pkg/kubelet/eviction). Newer ones write "Pod was rejected: " before it.
func (p Pod) Refused() bool {
	return p.Reason == "Evicted" && strings.Contains(p.Message, "The node had condition")
}

// KubernetesEvent is an Event object. Its time has a resolution of one second,
// so that it orders nothing.
type KubernetesEvent struct {
	Object  string    `json:"object"` // pod/NAME, node/NAME
	Warning bool      `json:"warning,omitempty"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Count   int       `json:"count"`
	Last    time.Time `json:"lastSeen"`
}

// Job is a Job as its controller tells.
type Job struct {
	Workload   string `json:"workload"`
	FailedPods int    `json:"failedPods"`
	Failed     bool   `json:"failed"`
	Reason     string `json:"reason,omitempty"`
}

// Container is the state of a container.
type Container struct {
	Name         string       `json:"name"`
	ID           string       `json:"id"`
	Init         bool         `json:"init,omitempty"` // it ends before the others begin
	RestartCount int          `json:"restartCount"`
	Running      bool         `json:"running"`
	Since        *time.Time   `json:"runningSince,omitempty"` // where the runtime tells
	Waiting      string       `json:"waiting,omitempty"`      // for what, if it does: ContainerCreating, CrashLoopBackOff
	Ended        *Termination `json:"ended,omitempty"`        // the last time it ended
	Previous     *Termination `json:"previous,omitempty"`     // the time before, if it has not been started again since
}

// Done reports whether the container has done its work: it was to end before
// the others begin, and has.
func (c Container) Done() bool {
	return c.Init && !c.Running && c.Ended != nil && c.Ended.ExitCode == 0
}

// Termination says how a container ended. Its times have a resolution of one
// second, so that they order nothing.
type Termination struct {
	Reason   string    `json:"reason"`
	ExitCode int       `json:"exitCode"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Message is the runtime's, or what the container left as its termination
	// message; ContainerID is without the runtime's name.
	Message     string `json:"message,omitempty"`
	ContainerID string `json:"containerID,omitempty"`
}

// Daemons are the node's own processes.
type Daemons struct {
	KubeletPID      int    `json:"kubeletPID,omitempty"`
	KubeletStarted  string `json:"kubeletStarted,omitempty"` // ExecMainStartTimestampMonotonic
	KubeletRestarts int    `json:"kubeletRestarts"`          // systemd's NRestarts
	Ready           bool   `json:"ready"`
	// Conditions are the node's conditions that are true.
	Conditions []string `json:"conditions,omitempty"`
	// OtherRestarts are container restarts of system pods, cluster-wide.
	OtherRestarts int `json:"systemPodRestarts"`
	// FreshPod says that a new pod started after the pressure; nil: not tried.
	FreshPod *bool `json:"freshPodStarted,omitempty"`
}

// Event is a line of the story.
type Event struct {
	AtSeconds float64 `json:"atSeconds"`
	Step      string  `json:"step"`
	Text      string  `json:"text"`
}

// Verdict is the answer to a claim or to a scenario.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive" // the evidence does not decide
	Unsupported  Verdict = "unsupported"  // the host can't do it, as probed
)

// Claim is one statement that was judged.
type Claim struct {
	Name     string  `json:"name"`
	Verdict  Verdict `json:"verdict"`
	Sentence string  `json:"sentence"`
	// Missing is what the host lacks, as probed, where the verdict is
	// unsupported.
	Missing  string   `json:"missing,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
}

// Write writes r as indented JSON.
func (r *Record) Write(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write run record: %w", err)
	}
	return nil
}

// Read reads a record that Write wrote.
func Read(rd io.Reader) (*Record, error) {
	r := new(Record)
	if err := json.NewDecoder(rd).Decode(r); err != nil {
		return nil, fmt.Errorf("read run record: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("read run record: schema %q: this oomlab reads %s", r.Schema, Schema)
	}
	if r.Scenario == nil {
		return nil, errors.New("read run record: it has no scenario")
	}
	return r, nil
}
