package plan

import (
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// Segment is one step as the balloon carries it out: the level of one kind of
// memory over a stretch of plan time, while all other kinds stay as they are.
type Segment struct {
	Verb     Verb
	Kind     Kind          // empty for Hold and Await
	Start    time.Duration // plan time at which it begins
	Duration time.Duration // 0: as fast as the machine can; Forever: without an end
	From, To mem.Bytes     // levels before it and after it, except for Saw

	rate   Rate
	every  time.Duration
	low    mem.Bytes // saw
	amount mem.Bytes // one stair, a spike's level, a saw's height, the part touched
	noise  float64
	seed   uint64
	step   Step
}

// Step returns the step that the segment carries out.
func (s Segment) Step() Step { return s.step }

// At returns the level t after the segment's start, for t from 0 to Duration.
func (s Segment) At(t time.Duration) mem.Bytes {
	switch {
	case s.Verb == Saw:
		return s.low + part(s.amount, t%s.every, s.every)
	case t >= s.Duration:
		return s.To
	case s.Verb == Spike:
		return s.amount
	case s.Verb == Ramp && s.To < s.From:
		return s.From - s.rate.in(t)
	case s.Verb == Ramp:
		return s.From + s.rate.in(t)
	case s.Verb == Leak:
		return min(s.To, s.From+s.leaked(t))
	case s.Verb == Stairs:
		return min(s.To, s.From+s.amount*mem.Bytes(t/s.every+1))
	}
	return s.From
}

// Touches returns how much memory, oldest first, a Touch segment keeps warm.
func (s Segment) Touches() mem.Bytes {
	if s.Verb != Touch {
		return 0
	}
	return s.amount
}

// Touched returns how much a Touch segment has touched t after its start, all
// rounds together.
func (s Segment) Touched(t time.Duration) mem.Bytes {
	if s.Verb != Touch {
		return 0
	}
	return s.rate.in(t)
}

// Pace is how often a level that moves steadily is brought up to date: whenever
// it has moved by Batch, but neither sooner than Least nor later than Most.
type Pace struct {
	Batch       mem.Bytes
	Least, Most time.Duration
}

// Next returns the time after t, at most Duration, at which the level jumps, or
// at which a level that moves steadily, or the touching, is next due.
func (s Segment) Next(t time.Duration, p Pace) time.Duration {
	next := s.Duration
	after := func(d time.Duration) { next = min(next, t+d) }
	steadily := func(r Rate) { after(min(max(r.over(p.Batch), p.Least), p.Most)) }
	switch s.Verb {
	case Ramp, Touch, Leak:
		steadily(s.rate)
	case Saw:
		steadily(Rate{Amount: s.amount, Per: s.every})
		after(s.every - t%s.every)
	case Stairs:
		after(s.every - t%s.every)
	}
	return next
}

func (s Segment) peak() mem.Bytes {
	switch s.Verb {
	case Spike:
		return s.amount
	case Saw:
		return s.low + s.amount
	}
	return max(s.From, s.To)
}

func part(b mem.Bytes, t, whole time.Duration) mem.Bytes {
	return mem.Bytes(float64(b) * (float64(t) / float64(whole)))
}

// leaked returns what a leak has added after t: a straight line, displaced at
// every full second by up to half of noise times a second's worth, so that the
// seconds differ by up to noise and the line never runs away or turns back.
// No history is needed: every second's displacement follows from the seed.
func (s Segment) leaked(t time.Duration) mem.Bytes {
	second := t / time.Second
	begin, end := s.displacement(second), s.displacement(second+1)
	within := float64(t%time.Second) / float64(time.Second)
	return s.rate.in(t) + mem.Bytes(begin+(end-begin)*within)
}

func (s Segment) displacement(second time.Duration) float64 {
	if s.noise == 0 || second == 0 {
		return 0
	}
	unit := float64(splitmix(s.seed+uint64(second))>>11)/(1<<53)*2 - 1
	return unit * s.noise / 2 * float64(s.rate.in(time.Second))
}

// splitmix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): it turns
// consecutive numbers into well mixed ones.
func splitmix(x uint64) uint64 {
	x *= 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
