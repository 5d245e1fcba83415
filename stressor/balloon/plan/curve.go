package plan

import (
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// Container is what the sizes of a plan are measured against. What is not
// known is left absent and not checked, except where the plan refers to it.
type Container struct {
	// Limit is the container's own memory limit. An absolute size above it is
	// taken for a mistake: a plan that means to be killed says "120% of limit".
	Limit mem.Limit
	// Request is the container's own memory request.
	Request mem.Limit
	// Machine is the memory of the machine. It only bounds the plan; no size
	// is ever relative to it.
	Machine mem.Limit
	// Held is what the balloon holds of each kind when the plan begins.
	Held map[Kind]mem.Bytes
}

// Curve is a plan with its sizes in bytes: the level of the balloon over the
// time of the plan. Plan time stands still while a fill, a spike's rise or a
// release takes as long as it takes, while the balloon awaits a start or is
// paused, and while it has to wait for memory.
type Curve struct {
	steps    []resolved
	held     map[Kind]mem.Bytes
	peak     mem.Bytes
	duration time.Duration
}

// resolved is a Step with its sizes in bytes.
type resolved struct {
	Step
	size, from, to mem.Bytes
	body           []resolved
}

// Curve works out the sizes of p in c. Its error is an *Error.
func (p Plan) Curve(c Container) (Curve, error) {
	steps, err := p.resolve(p.Steps, c)
	if err != nil {
		return Curve{}, err
	}
	curve := Curve{steps: steps, held: maps.Clone(c.Held)}
	w := walker{plan: p, levels: levelsOf(c.Held)}
	w.walk(steps, func(s Segment) bool {
		curve.duration = s.Start + min(s.Duration, Forever-s.Start)
		curve.peak = max(curve.peak, w.total()-w.levels[s.Kind]+s.peak())
		return true
	})
	if w.err != nil {
		return Curve{}, w.err
	}
	if machine, ok := c.Machine.Bytes(); ok && curve.peak > machine {
		return Curve{}, p.errorAt(span{0, len(p.text)}, "reaches %v, more than the machine's %v", curve.peak.Human(), machine.Human())
	}
	return curve, nil
}

// Peak is the highest level that the plan reaches, all kinds together.
func (c Curve) Peak() mem.Bytes { return c.peak }

// PeakOf is the highest level of these kinds together.
func (c Curve) PeakOf(kinds ...Kind) (peak mem.Bytes) {
	levels := map[Kind]mem.Bytes{}
	for _, k := range kinds {
		levels[k] = c.held[k]
	}
	for s := range c.Segments() {
		if before, ours := levels[s.Kind]; ours {
			peak = max(peak, sum(levels)-before+s.peak())
			levels[s.Kind] = s.At(s.Duration)
		}
	}
	return max(peak, sum(levels))
}

// Duration is the plan time until its last level is reached; Forever if the
// plan ends in a step without an end.
func (c Curve) Duration() time.Duration { return c.duration }

// At returns the level at plan time t, all kinds together. Where steps that
// take no plan time meet, it is the level after them.
func (c Curve) At(t time.Duration) mem.Bytes { return sum(c.Levels(t)) }

// Levels returns the level of each kind at plan time t.
func (c Curve) Levels(t time.Duration) map[Kind]mem.Bytes {
	levels := levelsOf(c.held)
	for s := range c.Segments() {
		if s.Start > t {
			break
		}
		if s.Kind != "" {
			levels[s.Kind] = s.At(min(t-s.Start, s.Duration))
		}
	}
	return levels
}

// Segments yields the segments of the curve in order, repeats unrolled.
func (c Curve) Segments() iter.Seq[Segment] {
	return func(yield func(Segment) bool) {
		w := walker{levels: levelsOf(c.held)}
		w.walk(c.steps, yield)
	}
}

func levelsOf(held map[Kind]mem.Bytes) map[Kind]mem.Bytes {
	levels := map[Kind]mem.Bytes{}
	maps.Copy(levels, held)
	return levels
}

// Share returns the curve that one of n equal parts of the balloon follows.
func (c Curve) Share(n int) Curve {
	held := maps.Clone(c.held)
	for kind := range held {
		held[kind] /= mem.Bytes(n)
	}
	return Curve{steps: share(c.steps, n), held: held, peak: c.peak / mem.Bytes(n), duration: c.duration}
}

func share(steps []resolved, n int) []resolved {
	out := slices.Clone(steps)
	for i := range out {
		r := &out[i]
		r.size, r.from, r.to = r.size/mem.Bytes(n), r.from/mem.Bytes(n), r.to/mem.Bytes(n)
		r.Rate.Per *= time.Duration(n)
		r.body = share(r.body, n)
	}
	return out
}

func (p Plan) resolve(steps []Step, c Container) ([]resolved, error) {
	out := make([]resolved, len(steps))
	for i, s := range steps {
		r := resolved{Step: s}
		for _, f := range []struct {
			size Size
			to   *mem.Bytes
		}{{s.Size, &r.size}, {s.From, &r.from}, {s.To, &r.to}} {
			b, err := p.inBytes(f.size, c)
			if err != nil {
				return nil, err
			}
			*f.to = b
		}
		if s.Verb == Saw && r.from >= r.size {
			return nil, p.errorAt(s.From.at, "the saw's lower end %v is not below its upper end %v", r.from, r.size)
		}
		body, err := p.resolve(s.Body, c)
		if err != nil {
			return nil, err
		}
		r.body = body
		out[i] = r
	}
	return out, nil
}

func (p Plan) inBytes(s Size, c Container) (mem.Bytes, error) {
	limit, limited := c.Limit.Bytes()
	switch s.Of {
	case "limit":
		if !limited {
			return 0, p.errorAt(s.at, "the container has no memory limit to take a part of")
		}
		return p.percentOf(s, limit)
	case "request":
		request, ok := c.Request.Bytes()
		if !ok || request == 0 {
			return 0, p.errorAt(s.at, "the container has no memory request to take a part of")
		}
		return p.percentOf(s, request)
	}
	if machine, ok := c.Machine.Bytes(); ok && s.Bytes > machine {
		return 0, p.errorAt(s.at, "larger than the machine's %v", machine.Human())
	}
	if limited && s.Bytes > limit {
		return 0, p.errorAt(s.at, "larger than the container's limit of %v: to be killed for it, write %s of limit",
			limit, formatPercent(math.Ceil(100*float64(s.Bytes)/float64(limit))))
	}
	return s.Bytes, nil
}

func (p Plan) percentOf(s Size, whole mem.Bytes) (mem.Bytes, error) {
	b := s.Percent / 100 * float64(whole)
	if b < 1 || b > float64(maxBytes) {
		return 0, p.errorAt(s.at, "is not between 1 byte and %v", maxBytes)
	}
	return mem.Bytes(b), nil
}

// walker unrolls steps into segments, keeping the level of each kind.
type walker struct {
	plan   Plan // for errors
	levels map[Kind]mem.Bytes
	now    time.Duration
	count  int
	err    error
}

func (w *walker) total() mem.Bytes { return sum(w.levels) }

func sum(levels map[Kind]mem.Bytes) mem.Bytes {
	var total mem.Bytes
	for _, b := range levels {
		total += b
	}
	return total
}

// walk calls yield for each segment, after having set the level that the
// segment ends on. It returns false if yield or an error stopped it.
func (w *walker) walk(steps []resolved, yield func(Segment) bool) bool {
	for _, r := range steps {
		if r.Verb == Repeat {
			for range r.Times {
				if !w.walk(r.body, yield) {
					return false
				}
			}
			continue
		}
		if w.count++; w.count > maxTimes {
			w.err = w.plan.errorAt(r.at, "more than %d steps in all when repeats are unrolled", maxTimes)
			return false
		}
		s, err := w.segment(r)
		if err != nil {
			w.err = err
			return false
		}
		w.levels[s.Kind] = s.At(s.Duration)
		if !yield(s) {
			return false
		}
		w.now += min(s.Duration, Forever-w.now)
	}
	return true
}

// segment makes the segment of r at the levels held when it begins.
func (w *walker) segment(r resolved) (Segment, error) {
	held := w.levels[r.Kind]
	s := Segment{Verb: r.Verb, Kind: r.Kind, Start: w.now, From: held, To: held, Duration: r.For, rate: r.Rate, every: r.Every, step: r.Step}
	switch r.Verb {
	case Fill:
		s.To = r.size
	case Ramp:
		s.To = r.size
		s.Duration = r.Rate.over(s.To - s.From)
	case Stairs:
		s.To, s.amount = r.to, r.size
		s.Duration = time.Duration(max(0, (s.To-s.From-1)/s.amount)) * r.Every
	case Leak:
		s.To, s.noise, s.seed = r.to, r.Noise/100, r.Seed
		s.Duration = r.Rate.over(s.To - s.From)
	case Spike:
		s.amount = r.size
	case Saw:
		s.low, s.amount = r.from, r.size-r.from
	case Touch:
		s.amount = r.size
	case Release:
		s.To = held - r.size
		if r.Size.all {
			s.To = 0
		}
	}
	return s, w.check(r, s)
}

// check refuses steps that cannot do anything at the level they begin at.
func (w *walker) check(r resolved, s Segment) error {
	held := s.From
	switch {
	case r.Verb == Release && (s.To < 0 || held == 0):
		return w.plan.errorAt(r.Size.at, "only %v %s is held here", held, r.Kind)
	case (r.Verb == Fill || r.Verb == Spike) && r.size < held:
		return w.plan.errorAt(r.Size.at, "%v %s is held here already: use release or ramp to shrink", held, r.Kind)
	case (r.Verb == Stairs || r.Verb == Leak) && r.to < held:
		return w.plan.errorAt(r.To.at, "%v %s is held here already: use release or ramp to shrink", held, r.Kind)
	case r.Verb == Touch && r.size > held:
		return w.plan.errorAt(r.Size.at, "only %v %s is held here", held, r.Kind)
	case s.Duration > maxTime && s.Duration != Forever, r.For != Forever && s.Duration == Forever:
		return w.plan.errorAt(r.at, "takes longer than a year")
	}
	return nil
}
