package scenarios

import (
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// Plans parses the two plans of the container; an absent one has no steps.
func (c Container) Plans() (balloon, press plan.Plan, err error) {
	if c.Balloon != "" {
		if balloon, err = plan.Parse(c.Balloon); err != nil {
			return balloon, press, err
		}
	}
	if c.Press != "" {
		press, err = plan.Parse(c.Press)
	}
	return balloon, press, err
}

// Uses says whether a plan of the container, whoever carries it out, has memory
// of one of these kinds.
func (c Container) Uses(kinds ...plan.Kind) (bool, error) {
	for _, text := range slices.Concat([]string{c.Balloon, c.Press, c.Exec}, c.Beside) {
		if text == "" {
			continue
		}
		p, err := plan.Parse(text)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return slices.Contains(kinds, s.Kind) }) {
			return true, nil
		}
	}
	return false, nil
}

// Plan returns all that the container's stressor does: it blows up the balloon,
// awaits the pressure if it presses, does that, and holds, unless it is to end.
func (c Container) Plan() (plan.Plan, error) {
	whole, press, err := c.Plans()
	if err != nil {
		return plan.Plan{}, err
	}
	if c.Press != "" {
		whole.Children, whole.Threads = max(whole.Children, press.Children), max(whole.Threads, press.Threads)
		whole = whole.Then(plan.Step{Verb: plan.Await}).Then(press.Steps...)
	}
	if !c.Ends && !whole.Endless() {
		whole = whole.Then(plan.Step{Verb: plan.Hold, For: plan.Forever})
	}
	return whole, nil
}

// Curves returns the levels of the two plans; the press plan begins with what
// the balloon holds.
func (c Container) Curves() (balloon, press plan.Curve, err error) {
	b, p, err := c.Plans()
	if err != nil {
		return balloon, press, err
	}
	sizes := c.Sizes()
	if balloon, err = b.Curve(sizes); err != nil {
		return balloon, press, err
	}
	sizes.Held = balloon.Levels(balloon.Duration())
	press, err = p.Curve(sizes)
	return balloon, press, err
}

// Sizes is what the sizes of the container's plans are measured against.
func (c Container) Sizes() plan.Container {
	var sizes plan.Container
	request, limit := c.Requests.Memory, c.Limits.Memory
	if limit != nil {
		sizes.Limit = mem.LimitOf(limit.Bytes)
	}
	if request == nil {
		request = limit // as the API server does
	}
	if request != nil {
		sizes.Request = mem.LimitOf(request.Bytes)
	}
	return sizes
}

// checkPlans finds out what is wrong with the plans before they run.
func (c Container) checkPlans(at string, p *problems) {
	sizes := c.Sizes()
	balloon, curve, err := checkPlan(c.Balloon, sizes)
	if err != nil {
		p.addf(at+".balloon", "%v", err)
	} else if c.Press != "" && balloon.Endless() {
		p.addf(at+".balloon", "%q has no end, so the press plan is never reached: say how long", last(balloon))
	}
	for i, text := range c.Beside {
		field := fmt.Sprintf("%s.beside[%d]", at, i)
		if beside, _, err := checkPlan(text, sizes); err != nil {
			p.addf(field, "%v", err)
		} else if beside.Endless() {
			p.addf(field, "%q: in the end it holds anyway: leave it out, or say how long", last(beside))
		}
	}
	sizes.Held = curve.Levels(curve.Duration())
	press, _, err := checkPlan(c.Press, sizes)
	if err != nil {
		p.addf(at+".press", "%v", err)
	} else if c.Balloon != "" && press.Children+press.Threads > 0 {
		p.addf(at+".press", "children and threads are there from the beginning: write them in the balloon")
	}
}

// checkExec finds out what is wrong with the plan of the second process.
func (c Container) checkExec(at string, p *problems) {
	if _, _, err := checkPlan(c.Exec, c.Sizes()); err != nil {
		p.addf(at+".exec", "%v", err)
	}
}

func last(p plan.Plan) plan.Step { return p.Steps[len(p.Steps)-1] }

// checkPlan reads one plan of a container; an absent one has no steps.
func checkPlan(text string, sizes plan.Container) (p plan.Plan, c plan.Curve, err error) {
	if text == "" {
		return p, c, nil
	}
	if p, err = plan.Parse(text); err != nil {
		return p, c, err
	}
	if err := p.Refuse(plan.Await, "the press plan is awaited anyway, and nothing else is"); err != nil {
		return p, c, err
	}
	c, err = p.Curve(sizes)
	return p, c, err
}
