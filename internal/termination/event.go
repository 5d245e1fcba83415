package termination

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/oomreport"
)

// slack is how far the times of one thing may be apart in events and status:
// both have whole seconds, and who reports a kill has to read of it first.
const slack = 5 * time.Second

// withEvents adds the events of the pod, and of its node, that fit in time.
func (c *conclusion) withEvents(e *Ending) {
	for i, v := range c.Events {
		if _, relevant := meaning(v); !relevant {
			continue
		}
		mine := v.Kind == "Pod" && v.Namespace == e.Namespace && v.Name == e.Pod && (v.Container == "" || e.Container == "" || v.Container == e.Container)
		// Where the log has the kill, the node's events can't tell more of it.
		if !mine && (v.Kind != "Node" || v.Name != e.Node || e.How == nil || !kernelsWord(v) || e.Cause == Logged) {
			continue
		}
		if !e.covers(v, mine) {
			continue
		}
		e.Events = append(e.Events, v)
		if c.used[i] = c.used[i] || mine; !mine {
			means, _ := meaning(v)
			e.open("whether this is its kill: at that time, on its node, %s", means)
		}
	}
}

// covers says that an event happened in the life of the container, or where it
// is the node's about its end.
func (e *Ending) covers(v Event, mine bool) bool {
	if e.How == nil || e.How.Finished.IsZero() || v.Last.IsZero() {
		return mine
	}
	first := v.First
	if first.IsZero() {
		first = v.Last
	}
	end := e.How.Finished.Add(slack)
	if mine {
		return !first.After(end) && (e.How.Started.IsZero() || !v.Last.Before(e.How.Started))
	}
	near := func(t time.Time) bool { return t.Sub(e.How.Finished).Abs() <= slack }
	return near(first) || near(v.Last)
}

// stopping says why the kubelet was stopping the container, if an event of its
// lifetime tells.
func (c *conclusion) stopping(e *Ending) bool {
	for _, v := range e.Events {
		switch v.Reason {
		case "Killing", "Evicted", "Preempting":
			e.why("the kubelet was stopping it: %s", v.Message)
			return true
		}
	}
	return false
}

// events says what the other events mean by themselves.
func (c *conclusion) events() {
	for i, v := range c.Events {
		if means, relevant := meaning(v); relevant && !c.used[i] {
			c.result.Events = append(c.result.Events, Told{v, means})
		}
	}
	slices.SortStableFunc(c.result.Events, func(a, b Told) int { return a.Last.Compare(b.Last) })
}

// kernelsWord: the event passes a kill of the kernel on.
func kernelsWord(v Event) bool { return v.Reason == "SystemOOM" || v.Reason == "OOMKilling" }

// meaning says what can be concluded from an event, if it bears on memory or on
// who ended a container. The reasons are the kubelet's (pkg/kubelet/events,
// oom, eviction), but OOMKilling, which is node-problem-detector's.
func meaning(v Event) (string, bool) {
	switch v.Reason {
	case "SystemOOM":
		return systemOOM(v), true
	case "OOMKilling":
		return killing(v), true
	case "EvictionThresholdMet":
		return "the kubelet began to reclaim, and may evict pods: no OOM kill", true
	case "NodeHasInsufficientMemory":
		return "the node reported MemoryPressure: no OOM kill", true
	case "Evicted":
		return "the kubelet evicted the pod: no OOM kill", true
	case "Preempting", "Preempted":
		return "the pod had to give way to a more important one: no OOM kill", true
	case "Killing":
		return "the kubelet stopped the container itself; if it ended with exit code 137, its grace period was over", true
	case "ExceededGracePeriod":
		return "the runtime did not stop the pod in its grace period", true
	case "Unhealthy":
		switch {
		case strings.HasPrefix(v.Message, "Readiness"):
			return "", false
		case strings.Contains(v.Message, "probe errored"):
			return "a probe could not be made, for which nothing is restarted", true
		}
		return "a probe failed, for which the kubelet may restart the container; that memory was short is possible and not told", true
	case "BackOff":
		if !strings.Contains(v.Message, "restarting failed container") {
			return "", false
		}
		return "a container ended again and again; why, the pod's status tells", true
	}
	return "", false
}

// victim is what the kubelet writes of a SystemOOM (pkg/kubelet/oom).
var victim = regexp.MustCompile(`victim process: (.+), pid: (\d+)$`)

// systemOOM: the kubelet read a report about no memory cgroup in the kernel's
// log.
func systemOOM(v Event) string {
	who := "a process"
	if m := victim.FindStringSubmatch(v.Message); m != nil {
		if pid, err := strconv.Atoi(m[2]); err == nil {
			who = oomreport.Process{PID: pid, Name: m[1]}.String()
		}
	}
	return fmt.Sprintf("the whole machine, or the memory nodes that an allocation was confined to, ran out, and the kernel killed %s; whose that was is not told", who)
}

// killing: node-problem-detector passes the kernel's line on.
func killing(v Event) string {
	var lines oomreport.Assembler
	for line := range strings.Lines(v.Message) {
		for _, event := range lines.Push(oomreport.Record{Text: strings.TrimSpace(line)}) {
			if event.Kind != oomreport.Killed {
				continue
			}
			what := "what ran out is not told"
			if event.Report.Global {
				what = "the whole machine, or some of its memory nodes, ran out"
			} else if strings.Contains(v.Message, "Memory cgroup out of memory") {
				what = "a memory cgroup ran out"
			}
			return fmt.Sprintf("the kernel killed %s; %s, and whose it was is not told", oomreport.Process{PID: event.Kill.PID, Name: event.Kill.Name}, what)
		}
	}
	return "the kernel killed a process, which one the event does not tell"
}
