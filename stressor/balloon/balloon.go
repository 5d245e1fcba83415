// Package balloon holds memory exactly as a plan says, outside the Go heap, and
// reports what it does as JSON lines. It never touches anyone's oom_score_adj:
// who dies is the kernel's decision alone.
package balloon

import (
	"errors"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

const (
	// touchBatch is how much is used again before commands are looked for.
	touchBatch = 4 * mem.MiB
	// dropInterval is how often a balloon that moves drops its code; one that
	// holds drops it when it begins to.
	dropInterval = 100 * time.Millisecond
	// patience is how far a balloon may fall behind its plan before the plan
	// waits for it.
	patience = 20 * time.Millisecond
)

// pace is a compromise: a wake-up costs up to half a millisecond of CPU, all
// in all, and between two the balloon lags behind a plan that moves.
var pace = plan.Pace{Batch: mem.MiB / 2, Least: 2 * time.Millisecond, Most: 100 * time.Millisecond}

// Balloon is memory that one process holds.
type Balloon struct {
	Events    *Events
	Commands  <-chan Command
	Code      Code           // dropped while the balloon sleeps; may be empty
	Container plan.Container // what sizes in live plans are relative to
	Share     int            // this process holds one Share-th of every plan; 0 means all of it
	Threads   int            // how many threads fault the memory in; 0: two if it is much
	Dir       string         // where file, dirty and mapped memory has its files
	TmpfsDir  string         // where tmpfs memory has its files
	KeepFiles bool           // leave the files there, with what is in them

	stores  map[plan.Kind]store
	pool    *pool
	timer   *time.Timer
	dropped time.Time     // when Code was dropped last
	paused  time.Duration // total of the pauses so far
}

// store is the memory of one kind.
type store interface {
	// held returns the current level.
	held() mem.Bytes
	// granule is the unit in which the level moves.
	granule() mem.Bytes
	// grow moves the level up by a multiple of granule: by as much as asked for,
	// or less, in order to let commands be carried out.
	grow(by mem.Bytes) error
	// shrink moves it down by as much as asked for, a multiple of granule.
	shrink(by mem.Bytes) error
	// touch uses the bytes from offset on again, all of them held.
	touch(offset, length mem.Bytes) error
}

// ErrTerminated says that a command asked the balloon to end.
var ErrTerminated = errors.New("terminated")

// replaced carries a live plan out of the plan that it replaces.
type replaced struct{ curve plan.Curve }

func (replaced) Error() string { return "replaced by another plan" }

// Run carries out c to its end, and every live plan that replaces it. After a
// live plan's end it waits for the next command.
func (b *Balloon) Run(c plan.Curve) error {
	b.Events.Emit("started", b.total())
	live := false
	for {
		err := b.carryOut(c)
		for live && err == nil {
			err = b.handle(<-b.Commands)
		}
		var next replaced
		if !errors.As(err, &next) {
			return err
		}
		live, c = true, next.curve
	}
}

// WaitForStart blocks until a start command. The plan to begin with is c, or
// the live plan that has replaced it by then.
func (b *Balloon) WaitForStart(c plan.Curve) (plan.Curve, error) {
	for {
		err := b.await()
		var next replaced
		if !errors.As(err, &next) {
			return c, err
		}
		c = next.curve
	}
}

func (b *Balloon) carryOut(c plan.Curve) error {
	for s := range c.Segments() {
		holds := s.Verb == plan.Hold || s.Verb == plan.Await || s.Verb == plan.Touch || s.Duration == plan.Forever
		if holds {
			b.event("holding", s)
		}
		if err := b.segment(s); err != nil {
			return err
		}
		if !holds {
			b.event("reached", s)
		}
		if s.Verb == plan.Await {
			if err := b.await(); err != nil {
				return err
			}
			b.event("resumed", s)
		}
	}
	return nil
}

// segment follows s until its end is reached.
func (b *Balloon) segment(s plan.Segment) error {
	st, err := b.store(s.Kind)
	if err != nil {
		return err
	}
	start, pausedBefore := time.Now(), b.paused
	elapsed := func() time.Duration { return time.Since(start) - (b.paused - pausedBefore) }
	var touched mem.Bytes
	var due time.Duration
	for {
		// A balloon that had to wait, for memory or for a processor, goes on at
		// the pace of its plan. Did it make up for lost time instead, it would
		// take all that an OOM victim gives back in one gulp, and the kernel
		// would have to kill again.
		if late := elapsed() - due; late > patience {
			b.paused += late - patience
		}
		t := min(elapsed(), s.Duration)
		if st != nil {
			if err := b.moveTo(st, s.At(t)); err != nil {
				return err
			}
			if touched, err = b.touchTo(st, s, touched, s.Touched(t)); err != nil {
				return err
			}
		}
		if t == s.Duration {
			return nil
		}
		due = s.Next(t, pace)
		if err := b.sleep(func() time.Duration { return due - elapsed() }); err != nil {
			return err
		}
	}
}

// moveTo moves the level of st to the granule below level, bit by bit.
func (b *Balloon) moveTo(st store, level mem.Bytes) error {
	level -= level % st.granule()
	for st.held() < level {
		if err := st.grow(level - st.held()); err != nil {
			return err
		}
		if err := b.poll(); err != nil {
			return err
		}
	}
	if st.held() > level {
		return st.shrink(st.held() - level)
	}
	return nil
}

// touchTo touches the part of st that s keeps warm, around and around, from
// the first total until the second.
func (b *Balloon) touchTo(st store, s plan.Segment, from, to mem.Bytes) (mem.Bytes, error) {
	part := s.Touches()
	part -= part % st.granule()
	if part == 0 {
		return from, nil
	}
	to -= to % st.granule()
	to = min(to, from+part) // more than one round at once would be wasted
	for from < to {
		offset := from % part
		length := min(to-from, part-offset, touchBatch)
		if err := st.touch(offset, length); err != nil {
			return from, err
		}
		if err := b.poll(); err != nil {
			return from, err
		}
		from += length
	}
	return to, nil
}

// dropCode drops the code if it is not to run for longer than dropInterval, or
// was not dropped for as long.
func (b *Balloon) dropCode(idle time.Duration) {
	if max(idle, time.Since(b.dropped)) > dropInterval {
		b.Code.Drop()
		b.dropped = time.Now()
	}
}

// poll carries out the commands that have arrived.
func (b *Balloon) poll() error {
	b.dropCode(0)
	for {
		select {
		case c := <-b.Commands:
			if err := b.handle(c); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// sleep carries out commands until remaining, asked again after each, is over.
func (b *Balloon) sleep(remaining func() time.Duration) error {
	for {
		d := remaining()
		if d <= 0 {
			return nil
		}
		b.dropCode(d)
		if b.timer == nil {
			b.timer = time.NewTimer(d)
		} else {
			b.timer.Reset(d)
		}
		select {
		case <-b.timer.C:
			return nil
		case c := <-b.Commands:
			if err := b.handle(c); err != nil {
				return err
			}
		}
	}
}

// handle carries out c. A pause does not return before it is over.
func (b *Balloon) handle(c Command) error {
	switch c.Verb {
	case Terminate:
		return ErrTerminated
	case Pause:
		return b.pause()
	case NewPlan:
		container := b.Container
		container.Held = b.levels()
		curve, err := c.Plan.Curve(container)
		if err != nil {
			b.Events.Error(err)
			return nil
		}
		return replaced{curve.Share(max(1, b.Share))}
	}
	return nil
}

func (b *Balloon) pause() error {
	b.Events.Emit("paused", b.total())
	start := time.Now()
	err := b.await()
	b.paused += time.Since(start)
	if err == nil {
		b.Events.Emit("resumed", b.total())
	}
	return err
}

// await blocks until a command to start or to go on. Nothing moves meanwhile,
// so that a pause changes nothing.
func (b *Balloon) await() error {
	b.Code.Drop()
	for c := range b.Commands {
		switch c.Verb {
		case Start, Resume:
			return nil
		case Pause:
		default:
			if err := b.handle(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// levels returns what the whole balloon holds, of which b is one share.
func (b *Balloon) levels() map[plan.Kind]mem.Bytes {
	levels := map[plan.Kind]mem.Bytes{}
	for kind, st := range b.stores {
		levels[kind] = st.held() * mem.Bytes(max(1, b.Share))
	}
	return levels
}

func (b *Balloon) total() mem.Bytes {
	var total mem.Bytes
	for _, st := range b.stores {
		total += st.held()
	}
	return total
}

func (b *Balloon) event(name string, s plan.Segment) {
	b.Events.emit(name, b.total(), s)
}
