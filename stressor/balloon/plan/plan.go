// Package plan is the language in which a balloon is told how much memory to
// hold, of which kind, and when:
//
//	fill 150Mi, hold
//	ramp 80% of limit at 10Mi/s, hold 30s, release
//	threads 4, thp fill 1Gi, repeat 3 { spike 1200Mi for 2s, hold 5s }
//
// Parse reads a plan; Plan.Curve works out its sizes for one container and
// gives the level at any time, so that the same code validates a scenario,
// draws the curve and drives the stressor. The package touches no memory and
// knows no clock.
//
// A size is always the level that a step reaches, never an increment, except
// after release and directly after step, where it is an amount.
package plan

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// Plan is a parsed plan. Sizes may still be relative to a container.
type Plan struct {
	// Children and Threads share every size of the plan equally between that
	// many processes or threads. 0 means not asked for.
	Children, Threads int
	Steps             []Step

	text string
}

// Verb is what a step does.
type Verb string

// The verbs, each with the form it is written in.
const (
	Fill    Verb = "fill"    // fill SIZE: to SIZE as fast as the machine can
	Ramp    Verb = "ramp"    // ramp SIZE at RATE: to SIZE, up or down, in a straight line
	Stairs  Verb = "step"    // step AMOUNT every DURATION to SIZE: the first at once
	Leak    Verb = "leak"    // leak RATE to SIZE [noise PERCENT] [seed N]
	Spike   Verb = "spike"   // spike SIZE for DURATION: to SIZE, and back
	Saw     Verb = "saw"     // saw SIZE..SIZE every DURATION [for DURATION]
	Hold    Verb = "hold"    // hold [DURATION]
	Await   Verb = "await"   // await: hold until a start command
	Touch   Verb = "touch"   // touch SIZE at RATE [for DURATION]: write again to the oldest SIZE, around and around
	Release Verb = "release" // release [AMOUNT]: the newest AMOUNT, or everything
	Repeat  Verb = "repeat"  // repeat N { STEPS }
)

// Kind is a kind of memory. The package balloon says how each is made and
// where the kernel counts it.
type Kind string

// The kinds. A step without a kind is Anon.
const (
	Anon     Kind = "anon"     // private anonymous memory in base pages
	THP      Kind = "thp"      // the same in transparent huge pages
	Mlock    Kind = "mlock"    // the same, locked
	Cold     Kind = "cold"     // the same, then deactivated: first to be reclaimed
	LazyFree Kind = "lazyfree" // the same, then MADV_FREE: gone under pressure
	HugeTLB  Kind = "hugetlb"  // pages reserved by the administrator
	Shm      Kind = "shm"      // shared memory, mapped: part of a process's rss
	Tmpfs    Kind = "tmpfs"    // a tmpfs file, written: part of no process's rss
	Memfd    Kind = "memfd"    // the same, in a memfd
	File     Kind = "file"     // page cache, clean
	Dirty    Kind = "dirty"    // page cache, not yet written back
	Mapped   Kind = "mapped"   // page cache, clean and mapped: part of a process's rss
)

// Kinds lists every kind, in the order in which the documentation does.
var Kinds = []Kind{Anon, THP, Mlock, Cold, LazyFree, HugeTLB, Shm, Tmpfs, Memfd, File, Dirty, Mapped}

// Step is one step of a plan. Which fields are used follows from the verb.
type Step struct {
	Verb  Verb
	Kind  Kind          // Fill, Ramp, Stairs, Leak, Spike, Saw, Touch, Release
	Size  Size          // level, or amount of Stairs and Release; the upper end of Saw
	From  Size          // Saw: the lower end
	To    Size          // Stairs, Leak: the level that ends the step
	Rate  Rate          // Ramp, Leak, Touch
	Every time.Duration // Stairs, Saw
	For   time.Duration // Spike, Saw, Touch, Hold; Forever without an end
	Noise float64       // Leak: percent by which the leak of a second differs at most
	Seed  uint64        // Leak: chooses the noise
	Times int           // Repeat
	Body  []Step        // Repeat

	at span
}

// Forever is the duration of a step without an end.
const Forever = time.Duration(math.MaxInt64)

// Size is an absolute or relative amount of memory.
type Size struct {
	Bytes   mem.Bytes // absolute, if Of is empty
	Percent float64   // of the container's limit or request
	Of      string    // "limit", "request" or ""
	all     bool      // Release without a size

	at span
}

// String writes s as Parse reads it.
func (s Size) String() string {
	if s.Of == "" {
		return s.Bytes.String()
	}
	return formatPercent(s.Percent) + " of " + s.Of
}

// Rate is an amount of memory per time. Per is a second, a minute or an hour.
type Rate struct {
	Amount mem.Bytes
	Per    time.Duration

	at span
}

// String writes r as Parse reads it.
func (r Rate) String() string {
	for unit, per := range ratePer {
		if per == r.Per {
			return r.Amount.String() + "/" + unit
		}
	}
	return "0/s"
}

// over returns how long an amount takes at rate r, at most Forever.
func (r Rate) over(amount mem.Bytes) time.Duration {
	d := math.Abs(float64(amount)) / float64(r.Amount) * float64(r.Per)
	if d >= float64(Forever) {
		return Forever
	}
	return time.Duration(d)
}

// in returns the amount that r moves in d.
func (r Rate) in(d time.Duration) mem.Bytes {
	return mem.Bytes(float64(r.Amount) * (float64(d) / float64(r.Per)))
}

// String writes p as Parse reads it.
func (p Plan) String() string {
	var clauses []string
	if p.Children > 0 {
		clauses = append(clauses, "children "+strconv.Itoa(p.Children))
	}
	if p.Threads > 0 {
		clauses = append(clauses, "threads "+strconv.Itoa(p.Threads))
	}
	return strings.Join(append(clauses, stepStrings(p.Steps)...), ", ")
}

func stepStrings(steps []Step) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = s.String()
	}
	return out
}

// String writes s as Parse reads it.
func (s Step) String() string {
	words := []string{}
	if s.Kind != "" && s.Kind != Anon {
		words = append(words, string(s.Kind))
	}
	words = append(words, string(s.Verb))
	add := func(w ...string) { words = append(words, w...) }
	switch s.Verb {
	case Fill, Spike:
		add(s.Size.String())
	case Ramp, Touch:
		add(s.Size.String(), "at", s.Rate.String())
	case Stairs:
		add(s.Size.String(), "every", s.Every.String(), "to", s.To.String())
	case Leak:
		add(s.Rate.String(), "to", s.To.String())
		if s.Noise != 0 {
			add("noise", formatPercent(s.Noise))
		}
		if s.Seed != 0 {
			add("seed", strconv.FormatUint(s.Seed, 10))
		}
	case Saw:
		add(s.From.String()+".."+s.Size.String(), "every", s.Every.String())
	case Release:
		if !s.Size.all {
			add(s.Size.String())
		}
	case Repeat:
		add(strconv.Itoa(s.Times), "{", strings.Join(stepStrings(s.Body), ", "), "}")
	}
	switch {
	case s.Verb == Hold && s.For != Forever:
		add(s.For.String())
	case (s.Verb == Spike || s.Verb == Saw || s.Verb == Touch) && s.For != Forever:
		add("for", s.For.String())
	}
	return strings.Join(words, " ")
}

// Endless reports that the last step of p never ends.
func (p Plan) Endless() bool {
	return len(p.Steps) > 0 && p.Steps[len(p.Steps)-1].For == Forever
}

// Then returns a plan that carries out p and, once p has ended, more steps.
func (p Plan) Then(more ...Step) Plan {
	p.Steps = append(slices.Clip(p.Steps), more...)
	p.text = p.String()
	return p
}

// Refuse returns an *Error with message that points at the first step of p that
// does verb, or nil if none does.
func (p Plan) Refuse(verb Verb, message string) error { return p.refuse(p.Steps, verb, message) }

func (p Plan) refuse(steps []Step, verb Verb, message string) error {
	for _, s := range steps {
		if s.Verb == verb {
			return p.errorAt(s.at, "%s", message)
		}
		if err := p.refuse(s.Body, verb, message); err != nil {
			return err
		}
	}
	return nil
}

func formatPercent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) + "%" }
