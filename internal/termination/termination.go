// Package termination says what the kubelet's side tells of containers that
// ran out of memory, or may have: the pods' status and the events of pods and
// nodes. They know less than the kernel's log. What they leave open is said
// with each conclusion; a log, where there is one, decides some of it.
package termination

import (
	"time"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/record"
)

// Event is an event of a pod or a node. The API server keeps it for an hour,
// unless configured otherwise. Its times have a resolution of one second.
type Event struct {
	// Kind, Namespace, Name and UID are those of the object that it is about.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	// Container is set where the event is about one.
	Container string `json:"container,omitempty"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
	// Source is the component that reported it: kubelet, kernel-monitor.
	Source string `json:"source,omitempty"`
	// Node is where that component runs, where it says so.
	Node string `json:"node,omitempty"`
	// Count is how often it happened between First and Last, which are zero
	// where the event does not tell.
	Count int       `json:"count"`
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// Kill is a kill of the kernel's log.
type Kill struct {
	oomreport.Process
	// Report is the number of the report in the log, from 1.
	Report int
	// Place is the victim's cgroup; its Path is empty where the log lacks it.
	Place explain.Place
}

// KillsOf returns the kills of a report. Its number in the log counts from 1.
// Whose the processes beside the victim were, only a group kill tells.
func KillsOf(e *explain.Explanation, number int) (kills []Kill) {
	for i, k := range e.Killed {
		kill := Kill{Process: k.Process, Report: number}
		switch {
		case e.GroupKill != nil:
			kill.Place = *e.GroupKill
		case i == 0 && e.Victim != nil:
			kill.Place = e.Victim.Place
		}
		kills = append(kills, kill)
	}
	if kills == nil && e.Victim != nil { // a cut report may have no other line
		kills = []Kill{{Process: e.Victim.Process, Report: number, Place: e.Victim.Place}}
	}
	return kills
}

// Account is all that is known.
type Account struct {
	Pods   []explain.Pod
	Events []Event
	// Runtimes are the container runtimes by node, such as
	// "containerd://2.3.4".
	Runtimes map[string]string
	// HasLog says that there is a kernel log, Kills are its kills.
	HasLog bool
	Kills  []Kill
}

// Cause is why a container ended, as far as it is known.
type Cause string

// The causes.
const (
	// Logged: the kernel's log has a kill in this very container.
	Logged Cause = "oom-logged"
	// Reported: the runtime reports OOMKilled.
	Reported Cause = "oom-reported"
	// AtStart: the runtime says that the container's init was killed before its
	// program began, because the limit is too low for that.
	AtStart Cause = "oom-at-start"
	// Evicted: the kubelet evicted the pod. Refused: it did not admit the pod,
	// for a condition of its node.
	Evicted Cause = "evicted"
	Refused Cause = "refused"
	// Stopped: the kubelet stopped the container, and exit code 137 is its
	// SIGKILL after the grace period.
	Stopped Cause = "stopped"
	// Lost: the kubelet lost sight of the container and made its exit code up.
	Lost Cause = "lost"
	// Unknown: something sent SIGKILL, or the program ended with 137 by itself.
	Unknown Cause = "unknown"
)

// Ending is how a container ended, or a pod.
type Ending struct {
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod"`
	// Container is empty where the pod as a whole ended.
	Container string `json:"container,omitempty"`
	Node      string `json:"node,omitempty"`
	Class     string `json:"qosClass,omitempty"`
	Init      bool   `json:"init,omitempty"`
	// Request and Limit are the container's for memory; 0: none.
	Request mem.Bytes `json:"requestBytes,omitempty"`
	Limit   mem.Bytes `json:"limitBytes,omitempty"`

	// How is what the status says; nil where it is the pod that ended.
	How *record.Termination `json:"terminated,omitempty"`
	// Message is the pod's, of an eviction.
	Message string `json:"message,omitempty"`
	// Restarts counts all restarts of the container, whatever for.
	Restarts int `json:"restarts"`

	Cause Cause `json:"cause"`
	// Why is what the cause rests on, Open what is not known and what would
	// tell.
	Why  []string `json:"why"`
	Open []string `json:"open,omitempty"`
	// Reports are the kernel's about this container, by number in the log.
	Reports []int `json:"reports,omitempty"`
	// Events are those of its pod that fit in time.
	Events []Event `json:"events,omitempty"`
}

// Told is an event and what can be concluded from it alone.
type Told struct {
	Event
	Means string `json:"means"`
}

// Result is what can be concluded.
type Result struct {
	Endings []Ending `json:"endings,omitempty"`
	// Events are those that bear on memory and belong to no Ending.
	Events []Told `json:"events,omitempty"`
	// Findings have the names of package reconcile (docs/evidence.md). Where
	// the text has a condition, the log may not cover the time.
	Findings []record.Finding `json:"findings,omitempty"`
}

// Empty reports that nothing was told about memory.
func (r Result) Empty() bool { return len(r.Endings)+len(r.Events)+len(r.Findings) == 0 }

// Conclude says what an account comes to.
func Conclude(a Account) Result {
	c := &conclusion{Account: a, used: make([]bool, len(a.Events))}
	for i := range a.Pods {
		c.pod(&a.Pods[i])
	}
	c.events()
	return c.result
}
