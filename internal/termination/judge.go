package termination

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/compare"
	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

const (
	// killed137 is the exit code of a process that SIGKILL has ended: 128 + 9.
	killed137 = 137
	oomKilled = "OOMKilled"
	// statusUnknown is the reason that the kubelet gives where the runtime knows
	// nothing of the container (pkg/kubelet/container/runtime.go).
	statusUnknown = "ContainerStatusUnknown"
	// killedAtStart is part of runc's message about an init that did not live to
	// see its program (libcontainer, initProcess.start).
	killedAtStart = "OOM-killed"
)

type conclusion struct {
	Account
	result Result
	used   []bool // by event
}

func (c *conclusion) find(name, where, format string, args ...any) {
	c.result.Findings = append(c.result.Findings, record.Finding{Name: name, Text: where + " " + fmt.Sprintf(format, args...)})
}

// pod concludes from the status of a pod and the kernel's log.
func (c *conclusion) pod(p *explain.Pod) {
	s := p.Status
	for _, container := range s.Containers {
		for _, how := range []*record.Termination{container.Ended, container.Previous} {
			if how != nil {
				c.container(p, container, how)
			}
		}
		c.silent(p, container)
	}
	c.forgotten(p)
	e := c.ending(p, "", nil)
	switch {
	case s.Refused():
		e.Cause = Refused
		e.why("the kubelet did not admit the pod for a condition of its node: it never ran")
	case s.Evicted():
		e.Cause = Evicted
		e.why("the kubelet evicted the pod and stopped its containers: that is no OOM kill, and looks at usage above requests and priority, not at oom_score_adj")
	default:
		return
	}
	e.Message = s.Message
	if e.Message == "" {
		e.Message = s.Terminated
	}
	c.withEvents(&e)
	c.result.Endings = append(c.result.Endings, e)
}

// ending begins what is said about a container, or about the pod.
func (c *conclusion) ending(p *explain.Pod, container string, how *record.Termination) Ending {
	e := Ending{
		Namespace: p.Namespace, Pod: p.Name, Container: container, Node: p.Node, Class: string(p.StatusClass), How: how,
	}
	for _, spec := range p.Containers {
		if spec.Name == container {
			e.Request, e.Limit, e.Init = spec.Requests.Memory, spec.Limits.Memory, spec.Kind == qos.Init
		}
	}
	return e
}

func (e *Ending) why(format string, args ...any) { e.Why = append(e.Why, fmt.Sprintf(format, args...)) }
func (e *Ending) open(format string, args ...any) {
	e.Open = append(e.Open, fmt.Sprintf(format, args...))
}

// String names the container or the pod.
func (e Ending) String() string {
	name := e.Pod
	if e.Namespace != "" {
		name = e.Namespace + "/" + name
	}
	if e.Container != "" {
		name += "/" + e.Container
	}
	return name
}

// container concludes how one container ended, if that may have to do with
// memory.
func (c *conclusion) container(p *explain.Pod, container record.Container, how *record.Termination) {
	e := c.ending(p, container.Name, how)
	e.Restarts = container.RestartCount
	kills := c.killsIn(how.ContainerID)
	switch {
	case len(kills) > 0:
		e.Cause = Logged
	case how.Reason == oomKilled:
		e.Cause = Reported
	case strings.Contains(how.Message, killedAtStart):
		e.Cause = AtStart
	case how.Reason == statusUnknown:
		e.Cause = Lost
	case how.ExitCode != killed137 || p.Status.Evicted():
		return
	default:
		e.Cause = Unknown
	}
	c.withEvents(&e)
	switch e.Cause {
	case Logged:
		c.logged(&e, kills)
	case Reported:
		c.reported(&e, p)
	case AtStart:
		e.why("the runtime says that the container's init was killed before its program began: a limit has to hold the runtime's own start, too")
	case Lost:
		e.why("the kubelet lost sight of the container and made reason and exit code up")
		e.open("how it ended: the kernel's log of the node tells whether it was killed")
	default:
		c.unexplained(&e)
	}
	c.result.Endings = append(c.result.Endings, e)
}

// killsIn returns the log's kills in a container, which has another id after
// each restart.
func (c *conclusion) killsIn(id string) (kills []Kill) {
	for _, k := range c.Kills {
		if id != "" && k.Place.ContainerID == id {
			kills = append(kills, k)
		}
	}
	return kills
}

// homeless counts the log's kills that could be in any container.
func (c *conclusion) homeless() (n int) {
	for _, k := range c.Kills {
		if k.Place.Path == "" {
			n++
		}
	}
	return n
}

func (c *conclusion) logged(e *Ending, kills []Kill) {
	for _, k := range kills {
		if !slices.Contains(e.Reports, k.Report) {
			e.Reports = append(e.Reports, k.Report)
		}
		e.why("report %d of the kernel's log: %s was killed in this container", k.Report, k.Process)
	}
	switch how := e.How; {
	case how.Reason == oomKilled:
		e.why("the runtime reports OOMKilled as well")
	case how.ExitCode == killed137:
		c.find("killed-but-reported-Error", e.String(), "was killed by the kernel, and is reported as %s with exit code %d", how.Reason, how.ExitCode)
		e.why("the runtime reports %s: %s", how.Reason, c.runtimeOf(e.Node))
	default:
		e.why("it ended by itself with exit code %d: not its first process was killed, but a child of that", how.ExitCode)
	}
}

// reported: the runtime saw an OOM kill.
func (c *conclusion) reported(e *Ending, p *explain.Pod) {
	e.why("the runtime was told of an OOM kill in this container")
	if e.How.ExitCode == killed137 {
		e.why("its first process ended by SIGKILL, with all others or alone")
	} else {
		e.why("its first process ended with exit code %d and not by SIGKILL: the kernel killed a child of it", e.How.ExitCode)
	}
	c.stopping(e)
	e.open("which of its processes was killed, how much that held, and in which order with others: the kernel's log tells")
	e.open("what ran out: %s", whatRanOut(*e, p))
	c.notInLog(e, "reported-OOMKilled-without-kernel-kill", "is reported as OOMKilled with exit code %d, and the kernel's log has no kill in it", e.How.ExitCode)
}

// whatRanOut lists what may have run out of memory.
func whatRanOut(e Ending, p *explain.Pod) string {
	above := "what the node gives to pods, or the machine"
	if p.Resources != nil && p.Resources.Limits.Memory > 0 {
		above = fmt.Sprintf("the pod's limit of %s, %s", p.Resources.Limits.Memory.Human(), above)
	}
	switch known := slices.ContainsFunc(p.Containers, func(spec qos.Container) bool { return spec.Name == e.Container }); {
	case !known:
		return "the container, the pod, " + above
	case e.Limit == 0:
		return above + ": the container has no limit of its own"
	}
	return fmt.Sprintf("its own limit, %s by the spec as it is now, or the pod's, or %s", e.Limit.Human(), above)
}

// unexplained: exit code 137 and no word about memory.
func (c *conclusion) unexplained(e *Ending) {
	if c.stopping(e) {
		e.Cause = Stopped
		e.why("exit code 137 is then the kubelet's own SIGKILL: the program had not ended when its grace period had")
		e.open("whether the kernel was faster: an OOM kill in those seconds would look the same")
	} else {
		e.why("exit code 137 is that of SIGKILL, and nothing says who sent it")
		e.open("the OOM killer, of which the runtime did not hear in time: %s", c.runtimeOf(e.Node))
		e.open("a child that was killed, and whose 137 the first process passed on, as a shell does")
		switch {
		case len(c.Events) == 0:
			e.open("the kubelet, after a failed probe or at the end of a grace period: no events were given (they are kept for an hour)")
		case e.How.Finished.IsZero():
			e.open("the kubelet, after a failed probe or at the end of a grace period: the status has no time to hold events against")
		default:
			e.open("the kubelet, after a failed probe or at the end of a grace period: no event of that time says so (they are kept for an hour)")
		}
		e.open("anybody else who may send signals")
	}
	c.notInLog(e, "exit-137-without-oom", "ended with exit code %d, and the kernel's log has no kill in it", e.How.ExitCode)
}

// notInLog adds a finding where there is a log. It holds under the condition
// that the log covers the time: a log's clock is not the API server's.
func (c *conclusion) notInLog(e *Ending, finding, format string, args ...any) {
	if !c.HasLog {
		return
	}
	text := fmt.Sprintf(format, args...) + fmt.Sprintf(", if that covers %s of node %s", Time(e.How.Finished), e.Node)
	if n := c.homeless(); n > 0 {
		text += fmt.Sprintf("; %d of its kills name no cgroup and may be this one", n)
	}
	if e.How.ContainerID == "" {
		text += "; the status does not tell the container's id, by which kills are told apart"
	}
	c.find(finding, e.String(), "%s", text)
}

// runtimeOf says what the node's runtime is known to get wrong.
func (c *conclusion) runtimeOf(node string) string {
	known := compare.Lookup("reason-from-counter")
	name, version, _ := strings.Cut(c.Runtimes[node], "://")
	fixed, err := known.In(version)
	switch {
	case name == "":
		return fmt.Sprintf("containerd before %s may report Error then (%s); which runtime the node has was not told", known.Release, known.Reference)
	case name != "containerd" || err != nil:
		return "whether " + c.Runtimes[node] + " can miss one is not known here"
	case fixed:
		return fmt.Sprintf("containerd %s reads the cgroup's counter after the end, and misses one only where the cgroup is gone by then", version)
	}
	return fmt.Sprintf("containerd %s may report Error then; %s and later read the cgroup's counter (%s)", version, known.Release, known.Reference)
}

// silent finds the kills of which no status tells, as the container goes on.
func (c *conclusion) silent(p *explain.Pod, container record.Container) {
	_, id, _ := strings.Cut(container.ID, "://")
	if !container.Running {
		return
	}
	for _, k := range c.killsIn(id) {
		where := c.ending(p, container.Name, nil)
		c.find("child-killed-silently", where.String(), "goes on after the kernel killed its process %s (report %d): no status tells of it", k.Process, k.Report)
	}
}

// forgotten finds the kills in containers of the pod that its status does not
// know any more: it remembers one end, or two.
func (c *conclusion) forgotten(p *explain.Pod) {
	known := map[string]bool{}
	for _, ids := range p.ContainerIDs {
		for _, id := range ids {
			known[id] = true
		}
	}
	for _, k := range c.Kills {
		mine := k.Place.PodUID != "" && (k.Place.PodUID == p.UID || k.Place.PodUID == p.ConfigHash)
		if !mine || known[k.Place.ContainerID] {
			continue
		}
		e := c.ending(p, "", nil)
		e.Cause, e.Reports = Logged, []int{k.Report}
		if len(p.Containers) == 1 {
			e = c.ending(p, p.Containers[0].Name, nil)
			e.Cause, e.Reports = Logged, []int{k.Report}
		}
		e.why("report %d of the kernel's log: %s was killed in a container of this pod that its status does not know any more", k.Report, k.Process)
		c.result.Endings = append(c.result.Endings, e)
	}
}

// Time writes a time of the API server, which has whole seconds.
func Time(t time.Time) string {
	if t.IsZero() {
		return "a time that is not told"
	}
	return t.UTC().Format(time.RFC3339)
}
