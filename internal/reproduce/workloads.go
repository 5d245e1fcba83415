package reproduce

import (
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// builder lays an attempt out as pods.
type builder struct {
	*casting
	*Attempt
	capacity mem.Bytes
}

// The names of what is no role.
const (
	appName  = "app"
	idleName = "idle"
	restName = "rest"
)

func (b *builder) build() {
	s := &scenarios.Scenario{
		APIVersion: scenarios.APIVersion, Kind: scenarios.Kind,
		Metadata: scenarios.Metadata{Name: b.o.Name, Labels: []string{"domain:" + string(b.domain())}},
		Source:   b.o.Source,
		Node:     scenarios.Node{Memory: *scenarios.MemoryOf(b.capacity), Domain: b.domain()},
		Until:    scenarios.Until{Kills: 1},
	}
	if len(b.group) == 0 && b.o.Kernel.CgroupVersion == 2 && b.o.Kubelet >= 32 {
		single := true
		s.Node.Kubelet.SingleProcessOOMKill = &single
	}
	if b.domain() == qos.LevelGlobal {
		s.Metadata.Labels = append(s.Metadata.Labels, "lab:vm")
	}
	b.Scenario = s
	switch b.domain() {
	case qos.LevelContainer, qos.LevelPod:
		s.Workloads = []scenarios.Workload{b.onePod()}
	default:
		s.Workloads = b.manyPods()
	}
	victim := b.Roles[slices.IndexFunc(b.Roles, func(r Role) bool { return r.Victim })]
	s.Title = fmt.Sprintf("As in the report, %s is killed when %s runs out", victim, Place(b.domain()))
	s.Story = fmt.Sprintf("Made from an OOM report: %d of its processes, with their sizes at scale %s and their scores; %d are left out.",
		len(b.Roles), ScaleText(b.Scale), b.LeftOut)
	s.Expect.Killed = []string{victim.Workload}
}

// onePod puts everything into the pod, or the container, that runs out.
func (b *builder) onePod() scenarios.Workload {
	w := scenarios.Workload{Name: appName}
	groups := b.byScore()
	for i, group := range groups {
		name := appName
		if len(groups) > 1 {
			name = nameOf(b.Roles[group[0]])
		}
		c := b.container(group, appName, name, i == 0)
		if len(groups) == 1 {
			c.Limits.Memory = scenarios.MemoryOf(b.Limit)
		}
		w.Containers = append(w.Containers, c)
	}
	switch {
	case len(groups) > 1:
		// No single container runs out: the pod as a whole is limited.
		w.Resources = &scenarios.PodResources{Limits: scenarios.Resources{Memory: scenarios.MemoryOf(b.Limit)}}
		b.Notes = append(b.Notes, fmt.Sprintf("%d different scores in one %s: each has a container of its own there", len(groups), b.level))
	case b.level == qos.LevelContainer:
		// With a second container the pod's limit is not the container's, and
		// the container runs out first.
		idle := scenarios.Container{Name: idleName, Limits: scenarios.Resources{Memory: scenarios.MemoryOf(spare)}}
		if first := w.Containers[0]; first.OOMScoreAdj != nil {
			idle.OOMScoreAdj = first.OOMScoreAdj
		} else {
			idle.Limits.CPU = first.Limits.CPU
		}
		w.Containers = append(w.Containers, idle)
	default:
		w.Container, w.Containers = w.Containers[0], nil
		w.Container.Name = ""
	}
	return w
}

// byScore groups the roles by score, the trigger's group first: the processes
// of one container have one score.
func (b *builder) byScore() [][]int {
	var groups [][]int
	for i, r := range b.Roles {
		at := slices.IndexFunc(groups, func(g []int) bool { return b.Roles[g[0]].OOMScoreAdj == r.OOMScoreAdj })
		if at < 0 {
			groups = append(groups, []int{i})
		} else {
			groups[at] = append(groups[at], i)
		}
	}
	slices.SortStableFunc(groups, func(x, y []int) int { return b.presses(y) - b.presses(x) })
	return groups
}

func (b *builder) presses(group []int) int {
	if slices.ContainsFunc(group, func(i int) bool { return b.Roles[i].Trigger }) {
		return 1
	}
	return 0
}

// manyPods gives each role a pod of its own, but those that died together one
// container.
func (b *builder) manyPods() []scenarios.Workload {
	var all []scenarios.Workload
	var together []int
	for i, r := range b.Roles {
		if slices.Contains(b.group, r.PID) {
			together = append(together, i)
		}
	}
	for i, r := range b.Roles {
		group := []int{i}
		if slices.Contains(together, i) {
			if i != together[0] {
				continue
			}
			group = together
		}
		name := nameOf(r)
		w := scenarios.Workload{Name: name, Container: b.container(group, name, name, false)}
		w.Container.Name = ""
		all = append(all, w)
	}
	if b.Rest > 0 {
		all = append(all, scenarios.Workload{Name: restName, Container: scenarios.Container{
			Limits:  scenarios.Resources{Memory: scenarios.MemoryOf(roundUp(b.Rest+spare, mem.MiB)), CPU: &scenarios.CPU{Millicores: 100}},
			Balloon: "memfd fill " + b.Rest.String(),
		}})
	}
	return all
}

// container plays the roles of a group, and the rest if it is to.
func (b *builder) container(group []int, workload, name string, rest bool) scenarios.Container {
	c := scenarios.Container{Name: name}
	slices.SortStableFunc(group, func(x, y int) int { return b.presses([]int{y}) - b.presses([]int{x}) })
	for index, i := range group {
		r := &b.Roles[i]
		r.Workload, r.Container, r.Index = workload, name, index
		plan := "fill " + balloonFor(r.Target).String()
		switch {
		case index > 0:
			c.Beside = append(c.Beside, plan)
		case r.Trigger:
			c.Press = b.pressPlan(*r)
		default:
			c.Balloon = plan
		}
	}
	if rest && b.Rest > 0 {
		c.Beside = append(c.Beside, "memfd fill "+b.Rest.String())
	}
	b.giveScore(&c, b.Roles[group[0]], group)
	return c
}

// pressPlan fills most of the trigger's memory at once and the end of it in a
// straight line, further than there is room.
func (b *builder) pressPlan(r Role) string {
	size := balloonFor(r.Target)
	most := size - min(size/2, 32*mem.MiB)
	onePod := b.domain() == qos.LevelContainer || b.domain() == qos.LevelPod
	ramp := fmt.Sprintf("ramp %s at 100Mi/s", b.Limit)
	switch {
	case onePod && len(b.byScore()) == 1:
		ramp = "ramp 150% of limit at 100Mi/s"
	case b.domain() == qos.LevelGlobal: // a stressor refuses more than there is
		ramp = fmt.Sprintf("ramp %s at 100Mi/s", b.Limit/20*19/mem.MiB*mem.MiB)
	case !onePod && r.Class == qos.Guaranteed: // its own limit has to stay above
		ramp = fmt.Sprintf("ramp %s at 100Mi/s", roundUp(size+b.Limit/10, mem.MiB))
	}
	if most < mem.MiB {
		return ramp
	}
	return "fill " + (most / mem.MiB * mem.MiB).String() + ", " + ramp
}

// giveScore gives a container the resources from which its score follows, or
// else the score itself.
func (b *builder) giveScore(c *scenarios.Container, r Role, group []int) {
	limited := b.domain() == qos.LevelContainer || b.domain() == qos.LevelPod
	request := roundUp(mem.Bytes(1000-r.OOMScoreAdj)*b.capacity, 1000) / 1000
	switch {
	case r.Class == qos.BestEffort && !limited:
		return
	case r.Class == qos.Burstable && b.domain() == qos.LevelGlobal:
		// How much of a machine its kernel leaves is nothing that can be chosen
		// to the thousandth, and a request is a share of that.
	case r.Class == qos.Burstable && (!limited || request <= b.Limit):
		c.Requests.Memory = scenarios.MemoryOf(request)
		return
	case r.Class == qos.Guaranteed:
		size := b.Limit
		if !limited {
			size = spare
			for _, i := range group {
				size += b.Roles[i].Target
			}
			if r.Trigger {
				size += b.Limit / 5
			}
		}
		c.Limits = scenarios.Resources{Memory: scenarios.MemoryOf(roundUp(size, mem.MiB)), CPU: &scenarios.CPU{Millicores: 500}}
		return
	}
	for _, i := range group {
		b.Roles[i].Class = ""
	}
	score := r.OOMScoreAdj
	c.OOMScoreAdj = &score
}
