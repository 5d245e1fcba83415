package forecast

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// compare holds the scenario's expectations against the models.
func (f *Forecast) compare(s *scenarios.Scenario) {
	if s.Node.Swap.Bytes > 0 {
		f.doubt("the node has swap, and the forecast has none: it says what would happen without")
		return
	}
	if f.Race() {
		f.doubt("%d containers grow at once, and the model lets one grow: whom the kernel kills is a race", f.growing)
		f.compareEvictions(s.Expect)
		return
	}
	steps := f.steps()
	complain := f.contradict
	if f.doubtful(s.Expect, steps) {
		complain = f.doubt
	}
	e := s.Expect
	if killed := f.firstVictims(e, steps); len(e.Killed) > 0 && !slices.Equal(killed, e.Killed) {
		complain("killed: the scenario expects %s, the model says %s", list(e.Killed), list(killed))
	}
	for _, name := range e.Survive {
		if slices.Contains(f.firstVictims(e, steps), name) {
			complain("survive: %s is to live, and the model has it killed", name)
		}
		if f.Kubelet != nil && slices.Contains(f.Kubelet.Evicted, name) {
			complain("survive: %s is to live, and the model has it evicted", name)
		}
	}
	if kills := countKills(steps); e.Kills != nil && kills != *e.Kills {
		complain("kills: the scenario expects %d, the model says %d", *e.Kills, kills)
	}
	for i, step := range steps {
		if level := levelOf(step.Domain); e.OOMCgroup != "" && level != e.OOMCgroup {
			complain("oomCgroup: in kill %d the %s cgroup is to run out, the model says the %s", i+1, e.OOMCgroup, level)
		}
	}
	f.compareScores(e, steps)
	f.compareEvictions(e)
}

// steps are the kills that happen: none where the kubelet surely comes first.
func (f *Forecast) steps() []oom.Step {
	if f.Kernel == nil {
		return nil
	}
	if f.Kubelet != nil {
		if kubelet, _ := f.Kubelet.First(); kubelet {
			return nil
		}
	}
	return slices.DeleteFunc(slices.Clone(f.Kernel.Steps), func(s oom.Step) bool { return s.Victim == 0 })
}

func (f *Forecast) doubtful(e scenarios.Expect, steps []oom.Step) bool {
	if f.Kubelet != nil {
		if kubelet, kernel := f.Kubelet.First(); !kubelet && !kernel && f.Kubelet.MetAfterSeconds >= 0 {
			return true
		}
	}
	return slices.ContainsFunc(steps, func(s oom.Step) bool {
		return slices.ContainsFunc(s.Rivals, func(pid int) bool {
			return f.called(e, pid) != f.called(e, s.Victim)
		})
	})
}

// firstVictims are the workloads in the order of their first kill. A restarted
// process has a new pid, which no owner is known of, and so counts no more.
func (f *Forecast) firstVictims(e scenarios.Expect, steps []oom.Step) []string {
	var names []string
	for _, step := range steps {
		for _, pid := range step.Kills {
			if name := f.called(e, pid); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func countKills(steps []oom.Step) (n int) {
	for _, s := range steps {
		n += len(s.Kills)
	}
	return n
}

// compareScores looks for the claim that the highest oom_score misleads.
func (f *Forecast) compareScores(e scenarios.Expect, steps []oom.Step) {
	want := e.HighestOOMScore
	if want == "" {
		return
	}
	best := 0
	for _, t := range f.Snapshot.Tasks {
		if best == 0 || f.Scores[t.PID] > f.Scores[best] {
			best = t.PID
		}
	}
	switch {
	case f.workload(best) != want:
		f.contradict("highestOOMScore: the scenario expects %s, the model says %s, with %d", want, f.workload(best), f.Scores[best])
	case len(steps) > 0 && f.workload(steps[0].Victim) == want:
		f.contradict("highestOOMScore: %s has the highest oom_score and is the first victim, so that nothing misleads", want)
	}
}

func (f *Forecast) compareEvictions(e scenarios.Expect) {
	if len(e.Evicted) == 0 {
		return
	}
	if f.Kubelet == nil {
		f.contradict("evicted: the scenario expects %s, and its kubelet has no threshold", list(e.Evicted))
		return
	}
	kubelet, kernel := f.Kubelet.First()
	switch {
	case !slices.Equal(f.Kubelet.Evicted, e.Evicted):
		f.contradict("evicted: the scenario expects %s, the model says %s", list(e.Evicted), list(f.Kubelet.Evicted))
	case kernel:
		f.contradict("evicted: memory runs out before a threshold is met, and the kernel kills first")
	case !kubelet:
		f.doubt("evicted: the kubelet looks every %s, and memory runs out sooner after the threshold is met", evictionPeriod)
	}
}

func (f *Forecast) contradict(format string, args ...any) {
	f.Contradictions = append(f.Contradictions, fmt.Sprintf(format, args...))
}

func (f *Forecast) doubt(format string, args ...any) {
	f.Doubts = append(f.Doubts, fmt.Sprintf(format, args...))
}

// called is how the expectations call a process.
func (f *Forecast) called(e scenarios.Expect, pid int) string {
	return e.Name(f.Owners[pid].Workload, f.Owners[pid].Container)
}

func (f *Forecast) workload(pid int) string { return f.Owners[pid].Workload }

// levelOf says what a domain of the planned node stands for.
func levelOf(d oom.Domain) qos.Level {
	switch {
	case d.Constraint == oom.ConstraintNone:
		return qos.LevelGlobal
	case d.Path == "/node":
		return qos.LevelNode
	}
	parsed, ok := qos.ParseCgroupPath(d.Path)
	if !ok {
		return ""
	}
	return parsed.Level
}

func list(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
