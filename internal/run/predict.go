package run

import (
	"context"
	"fmt"

	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/record"
)

// restartedBalloon is what a restarted stressor holds that stays small: its own
// footprint.
const restartedBalloon = 4 * mem.MiB

// predict takes the snapshot and says whom the kernel will kill.
func (r *runner) predict(ctx context.Context) error {
	kernel, err := r.hierarchy.Kernel()
	if err != nil {
		return err
	}
	if r.record.Snapshot, err = r.hierarchy.Snapshot(kernel, r.record.Node.Cgroup); err != nil {
		return err
	}
	r.recorder.Know(r.record.Snapshot)
	r.record.Owners = map[int]record.Owner{}
	for _, t := range r.record.Snapshot.Tasks {
		r.record.Owners[t.PID] = r.node.Owner(t.Cgroup)
	}
	if err := r.readReclaim(-1); err != nil {
		return err
	}
	if r.scenario.Until.Kills == 0 {
		return nil
	}
	growers, err := r.growers()
	if err != nil || len(growers) == 0 {
		return err
	}
	if n := len(growers); n > 1 {
		r.tell("predict", "%d containers grow at once, and the model lets one grow: whom the kernel kills is a race", n)
		return nil
	}
	pressure, err := r.pressure(ctx, growers[0], kernel)
	if err != nil {
		return err
	}
	sequence, err := oom.PredictSequence(r.record.Snapshot, pressure)
	if err != nil {
		return fmt.Errorf("predict: %w", err)
	}
	r.record.Forecast = &sequence
	for i, step := range sequence.Steps {
		r.tell("predict", "%d. %s", i+1, Explain(step.Prediction, r.record.Owners, kernel.PageSize))
	}
	return nil
}

// growers are those that press, and take what can't be reclaimed.
func (r *runner) growers() ([]presser, error) {
	var growers []presser
	for _, p := range r.pressers() {
		balloon, press, err := p.container.Curves()
		if err != nil {
			return nil, err
		}
		if forecast.Grows(balloon, press) {
			growers = append(growers, p)
		}
	}
	return growers, nil
}

// Explain says in a line whom a prediction names, and by how much.
func Explain(p oom.Prediction, owners map[int]record.Owner, pageSize mem.Bytes) string {
	if p.Victim == 0 {
		return p.Reason
	}
	c := p.Candidates[0]
	for _, other := range p.Candidates {
		if other.PID == p.Victim {
			c = other
		}
	}
	text := fmt.Sprintf("%s dies: %s points = %s held + %d × %s/1000", owners[c.PID], c.Points.Bytes(pageSize).Human(),
		(c.Points - c.AdjPages).Bytes(pageSize).Human(), c.OOMScoreAdj, p.TotalPages.Pages.Bytes(pageSize).Human())
	if len(p.Candidates) > 1 {
		text += fmt.Sprintf(", %s ahead of the next", p.Margin.Bytes(pageSize).Human())
	}
	if p.Outcome != oom.OutcomeVictim {
		text += fmt.Sprintf(" (%s: %s)", p.Outcome, p.Reason)
	}
	return text
}

// pressure is how the presser's processes grow.
func (r *runner) pressure(ctx context.Context, p presser, kernel oom.Kernel) (oom.Pressure, error) {
	pressure := oom.Pressure{Kills: r.scenario.Until.Kills}
	if r.record.Node.NoKubelet == "" { // which restarts what was killed
		pressure.Restart = restartedBalloon.Pages(kernel.PageSize)
	}
	whole, err := p.container.Plan()
	if err != nil {
		return pressure, err
	}
	balloon, press, err := p.container.Curves()
	if err != nil {
		return pressure, err
	}
	m, err := r.waitProcess(ctx, p)
	if err != nil {
		return pressure, err
	}
	pressure.Grower = m.PID
	if whole.Children > 0 {
		beside := len(p.container.Beside)
		children, err := r.children(ctx, m, beside+whole.Children)
		if err != nil {
			return pressure, err
		}
		children = children[beside:]
		pressure.Grower, pressure.Sharers = children[0], children[1:]
	}
	return forecast.WithPeak(pressure, r.record.Snapshot, balloon, press), nil
}
