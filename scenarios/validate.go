package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
)

// problem is one thing that is wrong with a scenario, and the field it is in.
type problem struct{ field, text string }

type problems []problem

func (p *problems) addf(field, format string, args ...any) {
	*p = append(*p, problem{field, fmt.Sprintf(format, args...)})
}

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$`)
	domains  = []qos.Level{qos.LevelContainer, qos.LevelPod, qos.LevelKubepods, qos.LevelNode, qos.LevelGlobal}
)

// smallestNode still leaves room for a kubelet and containerd next to the pods.
const smallestNode = 512 * mem.MiB

// problems returns everything that is wrong with the scenario.
func (s *Scenario) problems() problems {
	var p problems
	if s.APIVersion != APIVersion {
		p.addf("apiVersion", "%q: write %s", s.APIVersion, APIVersion)
	}
	if s.Kind != Kind {
		p.addf("kind", "%q: write %s", s.Kind, Kind)
	}
	if !dnsLabel.MatchString(s.Metadata.Name) {
		p.addf("metadata.name", "%q: use up to 42 lower-case letters, digits and dashes", s.Metadata.Name)
	}
	if s.Title == "" {
		p.addf("title", "missing: say in one sentence how the story ends")
	}
	if s.Story == "" {
		p.addf("story", "missing: say what happens and why")
	}
	if s.Metadata.Takes.err != nil {
		p.addf("metadata.takes", "%v", s.Metadata.Takes.err)
	}
	s.Needs.check(&p)
	if s.Node.Domain == qos.LevelGlobal && !slices.Equal(s.Metadata.labs(), []string{MachineLab}) {
		p.addf("metadata.labels", "domain global: add the label %s%s, and no other lab", labLabel, MachineLab)
	}
	s.Node.check(&p)
	s.checkWorkloads(&p)
	s.Until.check(&p)
	s.checkExpect(&p)
	s.checkControl(&p)
	return p
}

func (n Needs) check(p *problems) {
	if _, err := qos.ParseVersion(n.Kubelet); n.Kubelet != "" && err != nil {
		p.addf("needs.kubelet", "%v", err)
	}
	if _, err := oom.ParseVersion(n.Kernel); n.Kernel != "" && err != nil {
		p.addf("needs.kernel", "%v", err)
	}
	if n.Cgroup < 0 || n.Cgroup > 2 {
		p.addf("needs.cgroup", "%d: want 1 or 2", n.Cgroup)
	}
}

func (n Node) check(p *problems) {
	if n.Memory.err != nil {
		p.addf("node.memory", "%v", n.Memory.err)
	} else if n.Memory.Bytes < smallestNode {
		p.addf("node.memory", "%s: a node needs at least %s", n.Memory, smallestNode)
	}
	if !slices.Contains(domains, n.Domain) {
		p.addf("node.domain", "%q: want one of %v", n.Domain, domains)
	}
	if r := n.Reserved; r != nil && r.err != nil {
		p.addf("node.reserved", "%v", r.err)
	}
	if n.Kubepods() <= 0 {
		p.addf("node.reserved", "%s of %s leave nothing for pods", n.Reservation(), n.Memory)
	}
	if b := n.Kubelet.CrashLoopBackOff; b != nil && b.MaxContainerRestartPeriod.err != nil {
		p.addf("node.kubelet.crashLoopBackOff.maxContainerRestartPeriod", "%v", b.MaxContainerRestartPeriod.err)
	}
}

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
		presses = w.check(at, p) || presses
	}
	if !presses && (s.Control == nil || s.Control.Sigkill == "") && len(s.Workloads) > 0 {
		p.addf("workloads", "nobody presses: give one of them a press plan")
	}
}

// check reports whether a container of the workload presses.
func (w Workload) check(at string, p *problems) bool {
	if r := w.Resources; r != nil {
		r.Requests.check(at+".resources.requests", p)
		r.Limits.check(at+".resources.limits", p)
	}
	if len(w.Containers) == 0 {
		return w.Container.check(at, p)
	}
	if w.Balloon != "" || w.Press != "" || w.Beside != nil || w.OOMScoreAdj != nil || w.Requests != (Resources{}) || w.Limits != (Resources{}) {
		p.addf(at+".containers", "either list containers or describe the only one directly, not both")
	}
	presses := false
	names := map[string]bool{}
	for i, c := range w.Containers {
		at := fmt.Sprintf("%s.containers[%d]", at, i)
		if !dnsLabel.MatchString(c.Name) || names[c.Name] {
			p.addf(at+".name", "%q: give every container a name of its own", c.Name)
		}
		names[c.Name] = true
		presses = c.check(at, p) || presses
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
	if a := c.OOMScoreAdj; a != nil && (*a < -1000 || *a > 1000) {
		p.addf(at+".oomScoreAdj", "%d: want -1000 to 1000", *a)
	}
	if !slices.Contains([]string{"", "small", "again"}, c.AfterRestart) {
		p.addf(at+".afterRestart", "%q: want small or again", c.AfterRestart)
	}
	return c.Press != ""
}

func (r Resources) check(at string, p *problems) {
	if r.Memory != nil && r.Memory.err != nil {
		p.addf(at+".memory", "%v", r.Memory.err)
	}
	if r.CPU != nil && r.CPU.err != nil {
		p.addf(at+".cpu", "%v", r.CPU.err)
	}
}

func (u Until) check(p *problems) {
	if u.Kills < 0 || u.Evictions < 0 {
		p.addf("until", "counts start at 0")
	}
	if u.Kills == 0 && u.Evictions == 0 {
		p.addf("until", "say when the pressure ends: kills: 2, or evictions: 1")
	}
	if u.Within.err != nil {
		p.addf("until.within", "%v", u.Within.err)
	}
}

func (s *Scenario) checkExpect(p *problems) {
	e := s.Expect
	var names []string
	for _, w := range s.Workloads {
		names = append(names, w.Name)
	}
	lists := []struct {
		field string
		names []string
	}{
		{"killed", e.Killed}, {"survive", e.Survive}, {"restarted", e.Restarted},
		{"failed", e.Failed}, {"evicted", e.Evicted},
	}
	for _, list := range lists {
		for i, name := range list.names {
			at := fmt.Sprintf("expect.%s[%d]", list.field, i)
			if !slices.Contains(names, name) {
				p.addf(at, "no workload is called %q: there are %s", name, strings.Join(names, ", "))
			}
			if list.field == "survive" && (slices.Contains(e.Killed, name) || slices.Contains(e.Evicted, name)) {
				p.addf(at, "%q can't both survive and be killed or evicted", name)
			}
		}
	}
	if e.HighestOOMScore != "" && !slices.Contains(names, e.HighestOOMScore) {
		p.addf("expect.highestOOMScore", "no workload is called %q", e.HighestOOMScore)
	}
	for field, d := range map[string]qos.Level{"oomCgroup": e.OOMCgroup, "taskCgroup": e.TaskCgroup} {
		if d != "" && !slices.Contains(domains, d) {
			p.addf("expect."+field, "%q: want one of %v", d, domains)
		}
	}
	if e.Kills != nil && *e.Kills < 0 {
		p.addf("expect.kills", "%d: want 0 or more", *e.Kills)
	}
}

func (s *Scenario) checkControl(p *problems) {
	c := s.Control
	if c == nil {
		return
	}
	if c.Claim == "" {
		p.addf("control.claim", "missing: name the claim that must fail")
	}
	if c.Sigkill != "" && !slices.ContainsFunc(s.Workloads, func(w Workload) bool { return w.Name == c.Sigkill }) {
		p.addf("control.sigkill", "no workload is called %q", c.Sigkill)
	}
}
