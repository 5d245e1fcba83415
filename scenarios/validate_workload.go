package scenarios

import (
	"fmt"
	"reflect"
	"slices"
)

func (s *Scenario) checkWorkloads(p *problems) {
	if len(s.Workloads) == 0 {
		p.addf("workloads", "missing: describe at least one pod")
	}
	seen := map[string]bool{}
	presses := false
	for i, w := range s.Workloads {
		at := fmt.Sprintf("workloads[%d]", i)
		if !dnsLabel.MatchString(w.Name) {
			p.addf(at+".name", "%q: use up to 42 lower-case letters, digits and dashes", w.Name)
		}
		if seen[w.Name] {
			p.addf(at+".name", "%q is there twice", w.Name)
		}
		seen[w.Name] = true
		if w.Replicas < 0 || w.Replicas > 50 {
			p.addf(at+".replicas", "%d: want 1 to 50", w.Replicas)
		}
		if !slices.Contains([]string{"", "Always", "OnFailure", "Never"}, w.RestartPolicy) {
			p.addf(at+".restartPolicy", "%q: want Always, OnFailure or Never", w.RestartPolicy)
		}
		w.checkPod(at, p)
		presses = w.check(at, p) || presses
	}
	elsewhere := len(s.Meanwhile) > 0 || len(s.Expect.NeverStarts) > 0 || s.Control != nil && s.Control.Sigkill != ""
	if !presses && !elsewhere && len(s.Workloads) > 0 {
		p.addf("workloads", "nobody presses: give one of them a press plan")
	}
}

// checkPod checks what belongs to the pod as a whole.
func (w Workload) checkPod(at string, p *problems) {
	if w.Priority != 0 && w.PriorityClassName != "" {
		p.addf(at+".priority", "say either priority or priorityClassName")
	}
	if w.Priority < 0 || w.Priority > 1_000_000_000 {
		p.addf(at+".priority", "%d: want 1 to 1000000000, as users may", w.Priority)
	}
	if !slices.Contains([]string{"", "system-node-critical", "system-cluster-critical"}, w.PriorityClassName) {
		p.addf(at+".priorityClassName", "%q: want system-node-critical or system-cluster-critical, or say priority", w.PriorityClassName)
	}
	if r := w.Resources; r != nil {
		r.Requests.check(at+".resources.requests", p)
		r.Limits.check(at+".resources.limits", p)
	}
	if e := w.EmptyDir; e != nil {
		if e.Medium != "Memory" {
			p.addf(at+".emptyDir.medium", "%q: want Memory", e.Medium)
		}
		if e.SizeLimit != nil && e.SizeLimit.err != nil {
			p.addf(at+".emptyDir.sizeLimit", "%v", e.SizeLimit.err)
		}
	}
	if w.Job != nil && (w.RestartPolicy != "Never" && w.RestartPolicy != "OnFailure" || w.Replicas > 1) {
		p.addf(at+".job", "a Job has one pod with restartPolicy Never or OnFailure")
	}
	if w.Static && (w.Job != nil || w.After != "" || w.Priority != 0) {
		p.addf(at+".static", "a static pod has no job, after or priority of its own")
	}
	if w.After != "" && w.After != "MemoryPressure" {
		p.addf(at+".after", "%q: want MemoryPressure", w.After)
	}
}

// check reports whether a container of the workload presses.
func (w Workload) check(at string, p *problems) bool {
	presses := false
	names := map[string]bool{w.Name: len(w.Containers) == 0}
	checkNamed := func(at string, c Container) {
		if !dnsLabel.MatchString(c.Name) || names[c.Name] {
			p.addf(at+".name", "%q: give every container a name of its own", c.Name)
		}
		names[c.Name] = true
		presses = c.check(at, p) || presses
	}
	for i, c := range w.InitContainers {
		at := fmt.Sprintf("%s.initContainers[%d]", at, i)
		if c.RestartPolicy != "" && c.RestartPolicy != "Always" {
			p.addf(at+".restartPolicy", "%q: want Always, or nothing", c.RestartPolicy)
		}
		checkNamed(at, c.Container)
	}
	if len(w.Containers) == 0 {
		return w.Container.check(at, p) || presses
	}
	if !reflect.DeepEqual(w.Container, Container{}) {
		p.addf(at+".containers", "either list containers or describe the only one directly, not both")
	}
	for i, c := range w.Containers {
		checkNamed(fmt.Sprintf("%s.containers[%d]", at, i), c)
	}
	return presses
}

func (c Container) check(at string, p *problems) bool {
	c.Requests.check(at+".requests", p)
	c.Limits.check(at+".limits", p)
	if r, l := c.Requests.Memory, c.Limits.Memory; r != nil && l != nil && r.Bytes > l.Bytes {
		p.addf(at+".requests.memory", "%s is above the limit %s", r, l)
	}
	if r, l := c.Requests.CPU, c.Limits.CPU; r != nil && l != nil && r.Millicores > l.Millicores {
		p.addf(at+".requests.cpu", "%s is above the limit %s", r, l)
	}
	c.checkPlans(at, p)
	c.checkExec(at, p)
	if a := c.OOMScoreAdj; a != nil && (*a < -1000 || *a > 1000) {
		p.addf(at+".oomScoreAdj", "%d: want -1000 to 1000", *a)
	}
	if !slices.Contains([]string{"", "small", "again", "end"}, c.AfterRestart) {
		p.addf(at+".afterRestart", "%q: want small, again or end", c.AfterRestart)
	}
	if l := c.LivenessProbe; l != nil && l.MemoryBelow.err != nil {
		p.addf(at+".livenessProbe.memoryBelow", "%v", l.MemoryBelow.err)
	}
	return c.Presses()
}

func (r Resources) check(at string, p *problems) {
	if r.Memory != nil && r.Memory.err != nil {
		p.addf(at+".memory", "%v", r.Memory.err)
	}
	if r.CPU != nil && r.CPU.err != nil {
		p.addf(at+".cpu", "%v", r.CPU.err)
	}
}
