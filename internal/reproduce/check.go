package reproduce

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// closeCall is the share of what ran out below which a lead is no certain one.
const closeCall = 0.01

// check asks the model what the scenario does, with every score and with those
// that the machine can give.
func (b *builder) check() error {
	if b.o.Pods && b.Scenario.SetsScore() {
		return fmt.Errorf("%w: %s", ErrUnsupported, "no kubelet gives these scores: "+strings.Join(b.unexplained(), ", ")+"; the cgroup lab can")
	}
	if err := b.admitted(); err != nil {
		return err
	}
	victim, step, err := b.predict(oom.OOMScoreAdjMin)
	if err != nil {
		return err
	}
	if err := b.sameAnswer(victim, step); err != nil {
		return fmt.Errorf("%w: %w", ErrScale, err)
	}
	if b.o.LowestAdj <= oom.OOMScoreAdjMin {
		return nil
	}
	if victim, step, err = b.predict(b.o.LowestAdj); err != nil {
		return err
	}
	if err := b.sameAnswer(victim, step); err != nil {
		return fmt.Errorf("%w: no score below %d can be given here (%s), and with that one %w", ErrUnsupported, b.o.LowestAdj, b.o.LowestAdjProof, err)
	}
	return nil
}

// unexplained lists the roles whose score no class gives.
func (a *Attempt) unexplained() []string {
	var names []string
	for _, r := range a.Roles {
		if r.Class == "" {
			names = append(names, fmt.Sprintf("%d of %s", r.OOMScoreAdj, r))
		}
	}
	return names
}

// admitted: a kubelet admits no pod whose request does not fit any more.
func (b *builder) admitted() error {
	if !b.o.Pods {
		return nil
	}
	left := b.Scenario.Node.Kubepods()
	for _, w := range b.Scenario.Workloads {
		for _, c := range w.Pod(w.Name).Containers {
			left -= c.Requests.Memory
		}
	}
	if left < 0 {
		return fmt.Errorf("%w: the requests that give these scores exceed what the node has for pods by %s, as the log does not say which processes share a container; the cgroup lab admits all",
			ErrUnsupported, (-left).Human())
	}
	return nil
}

// predict returns the pid of the planned victim and the first step.
func (b *builder) predict(lowestAdj int) (*forecast.Forecast, oom.Step, error) {
	f, err := forecast.Predict(b.Scenario, forecast.Options{Kernel: b.o.Kernel, Kubelet: b.o.Kubelet, LowestAdj: lowestAdj, NoKubelet: !b.o.Pods})
	if err != nil {
		return nil, oom.Step{}, fmt.Errorf("predict the scenario: %w", err)
	}
	if f.Kernel == nil || len(f.Kernel.Steps) == 0 {
		return nil, oom.Step{}, fmt.Errorf("%w: by the model nothing runs out in the scenario", ErrScale)
	}
	return f, f.Kernel.Steps[0], nil
}

// sameAnswer holds the model's choice and ranking against the report's.
func (b *builder) sameAnswer(f *forecast.Forecast, step oom.Step) error {
	roles := b.rolesOf(f.Snapshot.Tasks, f.Owners)
	at, known := roles[step.Victim]
	switch {
	case !known:
		return fmt.Errorf("the model has %s killed, which plays nobody", f.Owners[step.Victim])
	case !b.Roles[at].Victim && !b.Roles[at].Twin:
		return fmt.Errorf("the model has %s killed", b.Roles[at])
	}
	points := map[int]float64{}
	for _, c := range step.Candidates {
		if at, ok := roles[c.PID]; ok {
			points[at] = float64(c.Points) / float64(step.TotalPages.Pages)
		}
	}
	if swaps := b.swapped(points); len(swaps) > 0 {
		return fmt.Errorf("the ranking changes: %s", strings.Join(swaps, ", "))
	}
	return nil
}

// rolesOf says which role each task plays. A container's processes are started
// in the order of their roles.
func (a *Attempt) rolesOf(tasks []oom.Task, owners map[int]record.Owner) map[int]int {
	type container struct{ workload, name string }
	started := map[container][]oom.Task{}
	for _, t := range tasks {
		if o := owners[t.PID]; o.Level == qos.LevelContainer {
			key := container{o.Workload, o.Container}
			started[key] = append(started[key], t)
		}
	}
	roles := map[int]int{}
	for i, r := range a.Roles {
		in := started[container{r.Workload, r.Container}]
		slices.SortStableFunc(in, byStart)
		if r.Index < len(in) {
			roles[in[r.Index].PID] = i
		}
	}
	return roles
}

// byStart compares when two processes of a container were started. Of one clock
// tick the pids tell, which begin again at the lowest after the highest.
func byStart(a, b oom.Task) int {
	const far = 1 << 14
	if d := a.PID - b.PID; a.Order == b.Order && (d > far || d < -far) {
		return -d
	}
	return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.PID, b.PID))
}

// swapped lists the pairs of roles that stand the other way round, by their
// points as a share of what ran out. Pairs that were close are no matter, and
// neither is who could not be played at its size.
func (a *Attempt) swapped(points map[int]float64) []string {
	var swaps []string
	for i, first := range a.Roles {
		for j, second := range a.Roles[i+1:] {
			j += i + 1
			p, known := points[i]
			q, too := points[j]
			if !known || !too || first.StandIn || second.StandIn || first.Share-second.Share < closeCall {
				continue
			}
			if p < q {
				swaps = append(swaps, fmt.Sprintf("%s is behind %s", first, second))
			}
		}
	}
	return swaps
}

// noteDifferences adds what the scenario does otherwise.
func (a *Attempt) noteDifferences(c *casting) {
	note := func(format string, args ...any) { a.Notes = append(a.Notes, fmt.Sprintf(format, args...)) }
	if c.domain() != c.level {
		note("in the report %s ran out, in the scenario it is %s", Place(c.level), Place(c.domain()))
	}
	if names := a.unexplained(); len(names) > 0 && c.kubernetes() {
		note("no QoS class gives these scores, so that the scenario sets them: %s", strings.Join(names, ", "))
	} else if len(names) > 0 {
		note("the cgroups are no kubelet's: the scenario sets the scores of the log")
	}
	if a.GroupKill > 0 && c.o.Kernel.CgroupVersion == 1 {
		note("cgroup v1 has no memory.oom.group: only one of the %d processes that died together can be killed here", a.GroupKill)
	}
	if a.Margin < closeCall {
		note("in the report the victim was only %.1f%% of what ran out ahead", 100*a.Margin)
	}
}
