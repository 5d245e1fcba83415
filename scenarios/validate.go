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
	s.checkMeanwhile(&p)
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
	if m := n.Kubelet.MemorySwap; m != nil && m.SwapBehavior != limitedSwap && m.SwapBehavior != "NoSwap" {
		p.addf("node.kubelet.memorySwap.swapBehavior", "%q: want LimitedSwap or NoSwap", m.SwapBehavior)
	}
	switch {
	case n.Swap.err != nil:
		p.addf("node.swap", "%v", n.Swap.err)
	case n.Swap.Bytes > 0 && n.Domain == qos.LevelGlobal:
		p.addf("node.swap", "%s: a node that is the whole machine has the machine's", n.Swap)
	}
	if f := n.Kubelet.MemoryThrottlingFactor; f != nil && (*f <= 0 || *f > 1) {
		p.addf("node.kubelet.memoryThrottlingFactor", "%v: want more than 0, and 1 at most", *f)
	}
	if b := n.Kubelet.CrashLoopBackOff; b != nil && b.MaxContainerRestartPeriod.err != nil {
		p.addf("node.kubelet.crashLoopBackOff.maxContainerRestartPeriod", "%v", b.MaxContainerRestartPeriod.err)
	}
}

func (u Until) check(p *problems) {
	if u.Kills < 0 || u.Evictions < 0 {
		p.addf("until", "counts start at 0")
	}
	if u.Kills == 0 && u.Evictions == 0 && u.Within.Duration == 0 && u.Within.err == nil {
		p.addf("until", "say when the pressure ends: kills: 2, or evictions: 1, or within: 10s")
	}
	if u.Within.err != nil {
		p.addf("until.within", "%v", u.Within.err)
	}
}

func (s *Scenario) checkExpect(p *problems) {
	e := s.Expect
	var names, containers []string
	for _, w := range s.Workloads {
		names = append(names, w.Name)
		if all := w.EachContainer(); len(all) > 1 {
			for _, c := range all {
				containers = append(containers, w.Name+"/"+c.Name)
			}
		}
	}
	lists := []struct {
		field string
		names []string
	}{
		{"killed", e.Killed}, {"survive", e.Survive}, {"restarted", e.Restarted},
		{"failed", e.Failed}, {"evicted", e.Evicted}, {"completed", e.Completed}, {"jobFailed", e.JobFailed},
		{"neverStarts", e.NeverStarts}, {"refused", e.Refused}, {"admitted", e.Admitted}, {"resizeRefused", e.ResizeRefused},
		{"limitHit", e.LimitHit}, {"thrashes", e.Thrashes},
	}
	for _, list := range lists {
		for i, name := range list.names {
			at := fmt.Sprintf("expect.%s[%d]", list.field, i)
			single := (list.field == "killed" || list.field == "survive") && slices.Contains(containers, name)
			if !slices.Contains(names, name) && !single {
				p.addf(at, "no workload is called %q: there are %s", name, strings.Join(names, ", "))
			}
			if list.field == "survive" && (slices.Contains(e.Killed, name) || slices.Contains(e.Evicted, name)) {
				p.addf(at, "%q can't both survive and be killed or evicted", name)
			}
		}
	}
	if b := e.BackOff; b != nil {
		if !slices.Contains(names, b.Workload) {
			p.addf("expect.backOff.workload", "no workload is called %q", b.Workload)
		}
		for i, d := range b.Delays {
			if d.err != nil {
				p.addf(fmt.Sprintf("expect.backOff.delays[%d]", i), "%v", d.err)
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

func (s *Scenario) checkMeanwhile(p *problems) {
	for i, a := range s.Meanwhile {
		at := fmt.Sprintf("meanwhile[%d]", i)
		if a.RestartKubelet == (a.Resize != nil) {
			p.addf(at, "want either restartKubelet or resize")
		}
		if a.Resize == nil {
			continue
		}
		if w, ok := s.Workload(a.Resize.Workload); !ok {
			p.addf(at+".resize.workload", "no workload is called %q", a.Resize.Workload)
		} else if len(w.EachContainer()) != 1 {
			p.addf(at+".resize.workload", "%q has several containers: only one can be resized", w.Name)
		}
		if a.Resize.Limit.err != nil {
			p.addf(at+".resize.limit", "%v", a.Resize.Limit.err)
		}
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
