package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/verdict"
)

// pair is what the rules look at: the finished runs of a cell, and what was and
// is.
type pair struct {
	old, new    []Run
	was, is     map[string]string
	changed     []Fact
	differences []Difference
	failures    []string // why runs could not be finished
	// mixed are the differences in which a side's own runs differ as well.
	mixed map[*Difference]bool
}

// explain goes through the differences, which are sorted by aspect, causes
// first, and says of each what explains it: a known change, or a difference
// before it. What is noise stays noise.
func (p *pair) explain(all []Difference) {
	p.differences, p.mixed = all, map[*Difference]bool{}
	for i := range all {
		d := &all[i]
		if d.Class == Noise {
			p.mixed[d] = true
			d.Why = "runs with the same programs differ in it as well"
			if c, _ := p.known(d); c != nil && c.race() {
				d.Why, d.Change = c.What, c
			}
			continue
		}
		if c, between := p.known(d); c != nil {
			d.Class, d.Change, d.Why = Explained, c, c.What
			if c.race() {
				d.Class = Noise
			} else {
				d.Why += " (" + between + ")"
			}
			continue
		}
		if asked, ok := p.asked(d); ok {
			d.Class, d.Why = Explained, asked
			continue
		}
		if root := p.root(d); root != nil {
			d.Class, d.Follows, d.Why = root.Class, root.Title(), "follows from it"
			continue
		}
		d.Why = "no known change explains it"
		if d.Aspect != Finished && p.modelAgrees(d) {
			d.Why = "the model gives both values, yet no known change tells why"
		}
	}
}

// known returns the known change that explains a difference, and how it lies
// between the sides.
func (p *pair) known(d *Difference) (*Change, string) {
	for i := range Known {
		c := &Known[i]
		if !slices.Contains(c.explains, d.Aspect) {
			continue
		}
		if between, ok := c.between(p); ok && (c.fits == nil || c.fits(p, d)) {
			return c, between
		}
	}
	return nil, ""
}

// asked explains a kubelet's setting that the two scenarios ask for.
func (p *pair) asked(d *Difference) (string, bool) {
	if d.Aspect != Setting {
		return "", false
	}
	for _, f := range p.changed {
		if f.Name == settingPrefix+d.Subject {
			return fmt.Sprintf("the scenarios ask for it: %s, now %s", f.Old, f.New), true
		}
	}
	return "", false
}

// consequences are the aspects that an aspect may follow from.
var consequences = map[Aspect][]Aspect{
	Forecast: {Score, Limit},
	Victims:  {Score, Limit, Forecast},
	Domain:   {Victims, Limit},
	Decision: {Victims, Limit},
	Held:     {Victims, Decision},
	Reported: {Victims, Decision, Evicted},
	Restarts: {Victims, Reported, Evicted},
	Pod:      {Victims, Reported, Evicted, Restarts},
	Seen:     {Evicted},
	Found:    {Victims, Reported, Needless},
	Time:     {Victims, Decision, Evicted, Restarts},
}

// claimsRestOn are the aspects that decide each claim.
var claimsRestOn = map[string][]Aspect{
	verdict.Forecast:        {Victims, Forecast, Needless},
	verdict.Killed:          {Victims, Needless},
	verdict.Survive:         {Victims, Needless, Restarts, Reported, Evicted},
	verdict.Kills:           {Victims, Decision, Needless},
	verdict.FewestKills:     {Victims, Held},
	verdict.OOMCgroup:       {Domain, Victims},
	verdict.Scores:          {Score},
	verdict.OOMScore:        {OOMScore},
	verdict.HighestOOMScore: {OOMScore, Victims},
	verdict.Restarted:       {Reported, Restarts, Pod, Victims},
	verdict.Failed:          {Reported, Restarts, Pod, Victims},
	verdict.Evicted:         {Evicted, Victims, Seen},
	verdict.Contained:       {Victims, Domain},
	verdict.Evidence:        {Found},
}

// root returns the difference that d is a consequence of: one that nothing
// explains, if there is any, so that a change that explains half of it does not
// hide the other half. What goes both ways on one side is no cause of what does
// not.
func (p *pair) root(d *Difference) *Difference {
	from := consequences[d.Aspect]
	if d.Aspect == Claim {
		from = claimsRestOn[d.Subject]
	}
	var found *Difference
	for i := range p.differences {
		c := &p.differences[i]
		if c == d {
			break // causes come first
		}
		if p.mixed[c] || !slices.Contains(from, c.Aspect) || !p.concerns(c, d) {
			continue
		}
		if found == nil || found.Class != Unexplained && c.Class == Unexplained || found.Class == Noise {
			found = c
		}
	}
	return found
}

// concerns reports whether a cause has to do with what its consequence is
// about: other victims explain the end of those containers that are killed on
// one side and not on the other, and of no others.
func (p *pair) concerns(cause, d *Difference) bool {
	switch d.Aspect {
	case Reported, Restarts, Pod, Held, Decision, Domain:
		if cause.Aspect == Victims || cause.Aspect == Evicted {
			// The size of a victim depends on its turn, its end does not.
			byTurn := slices.Contains([]Aspect{Held, Decision, Domain}, d.Aspect)
			was, is := placesOf(cause.Old)[p.workload(d.Subject)], placesOf(cause.New)[p.workload(d.Subject)]
			return (was == 0) != (is == 0) || byTurn && was != is
		}
		if cause.Aspect == Decision && d.Aspect == Reported && !hasValue(d.Old, unended) && !hasValue(d.New, unended) {
			return false // it ends on both sides, and not by another number of kills
		}
		return p.workload(cause.Subject) == p.workload(d.Subject)
	case Victims:
		// Scores and limits choose the victim by the model's arithmetic: where
		// that did not foretell both sides, something else is at work.
		return p.foretold()
	case Time:
		return cause.Aspect == Victims || strings.Contains(d.Subject, p.workload(cause.Subject))
	}
	return true
}

func hasValue(s Sample, value string) bool {
	return slices.ContainsFunc(s.Values, func(c Count) bool { return c.Value == value })
}

// placesOf returns the place of each workload in the orders of a sample, from 1.
func placesOf(s Sample) map[string]int {
	places := map[string]int{}
	for _, v := range s.Values {
		for i, name := range strings.Split(v.Value, ", then ") {
			places[name] = i + 1
		}
	}
	return places
}

// workload returns the workload that a subject is about: a pod, a container of
// it, or a file of its cgroup.
func (p *pair) workload(subject string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(subject, "pod "), " ")
	name, _, _ = strings.Cut(name, "/")
	for _, r := range slices.Concat(p.old, p.new) {
		for _, pod := range r.Record.Before {
			if pod.Name == name {
				return pod.Workload
			}
		}
	}
	return name
}

// foretold reports that in every run the model named the victims.
func (p *pair) foretold() bool {
	for _, r := range slices.Concat(p.old, p.new) {
		if !slices.ContainsFunc(r.Record.Claims, func(c record.Claim) bool {
			return c.Name == verdict.Forecast && c.Verdict == record.Pass
		}) {
			return false
		}
	}
	return len(p.old) > 0 && len(p.new) > 0
}

// modelAgrees reports that the formulas give what was seen, on both sides: they
// know the version of the kubelet and of the kernel.
func (p *pair) modelAgrees(d *Difference) bool {
	if d.Aspect != Limit && d.Aspect != Score && d.Aspect != QoSClass {
		return false
	}
	for _, v := range slices.Concat(d.Old.Values, d.New.Values) {
		if strings.Contains(v.Value, formulaMark) {
			return false
		}
	}
	return true
}

// disputed returns the places of the two orders of victims that differ, first
// of them, as the workloads that each side killed there; "" where it killed
// nobody.
func (p *pair) disputed() (old, new string, step int) {
	return p.firstDispute(func(r *record.Record) []string {
		var names []string
		for _, k := range meant(r) {
			if name := nameOf(k.Owner); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	})
}

// firstDispute returns where the orders of the two sides' first runs differ.
func (p *pair) firstDispute(order func(*record.Record) []string) (old, new string, step int) {
	var was, is []string
	if len(p.old) > 0 {
		was = order(p.old[0].Record)
	}
	if len(p.new) > 0 {
		is = order(p.new[0].Record)
	}
	for step < len(was) && step < len(is) && was[step] == is[step] {
		step++
	}
	if step < len(was) {
		old = was[step]
	}
	if step < len(is) {
		new = is[step]
	}
	return old, new, step
}

// marginal reports that the model of one side's kernel could not tell the
// victim of the disputed step: a tie, or a lead within the error of the
// kernel's counters.
func marginal(p *pair, d *Difference) bool {
	return p.undecided(d, p.old) || p.undecided(d, p.new)
}

// decidedNow reports that the model of the new kernel could tell.
func decidedNow(p *pair, d *Difference) bool { return !p.undecided(d, p.new) }

func (p *pair) undecided(d *Difference, side []Run) bool {
	_, _, step := p.disputed()
	if d.Aspect == Forecast {
		_, _, step = p.firstDispute(forecast)
	}
	return slices.ContainsFunc(side, func(r Run) bool {
		f := r.Record.Forecast
		return f != nil && step < len(f.Steps) && slices.Contains([]oom.Outcome{oom.OutcomeTie, oom.OutcomeUndetermined}, f.Steps[step].Outcome)
	})
}
