package plan

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

func TestCurve(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		plan     string
		duration time.Duration
		peak     mem.Bytes
		at       map[time.Duration]mem.Bytes // in MiB
	}{
		{"fill 150Mi, hold", Forever, 150, map[time.Duration]mem.Bytes{0: 150, 3600 * s: 150}},
		{"ramp 500Mi at 100Mi/s", 5 * s, 500, map[time.Duration]mem.Bytes{0: 0, 1 * s: 100, 4500 * time.Millisecond: 450, 9 * s: 500}},
		{"fill 100Mi, ramp 40Mi at 30Mi/s", 2 * s, 100, map[time.Duration]mem.Bytes{0: 100, 1 * s: 70, 2 * s: 40}},
		{"step 50Mi every 2s to 120Mi, hold 1s", 5 * s, 120, map[time.Duration]mem.Bytes{0: 50, 2 * s: 100, 3 * s: 100, 4 * s: 120}},
		{"leak 60Mi/min to 10Mi", 10 * s, 10, map[time.Duration]mem.Bytes{0: 0, 7 * s: 7, 99 * s: 10}},
		{"fill 10Mi, spike 200Mi for 2s, hold 1s", 3 * s, 200, map[time.Duration]mem.Bytes{0: 200, 1 * s: 200, 2 * s: 10, 3 * s: 10}},
		{"saw 100Mi..300Mi every 4s for 10s", 10 * s, 300, map[time.Duration]mem.Bytes{0: 100, 1 * s: 150, 3 * s: 250, 4 * s: 100, 10 * s: 200}},
		{"fill 200Mi, release 50Mi, hold 1s, release", 1 * s, 200, map[time.Duration]mem.Bytes{0: 150, 500 * time.Millisecond: 150, 1 * s: 0}},
		{"fill 200Mi, touch 100Mi at 50Mi/s for 10s", 10 * s, 200, map[time.Duration]mem.Bytes{5 * s: 200}},
		{"repeat 3 { fill 10Mi, hold 1s, release, hold 1s }", 6 * s, 10, map[time.Duration]mem.Bytes{0: 10, 1 * s: 0, 2 * s: 10, 5 * s: 0}},
		{"file fill 40Mi, fill 30Mi, hold 1s, file release 10Mi", 1 * s, 70, map[time.Duration]mem.Bytes{0: 70, 1 * s: 60}},
		{"file fill 40Mi, spike 30Mi for 1s", 1 * s, 70, map[time.Duration]mem.Bytes{0: 70, 1 * s: 40}},
		{"fill 80% of limit, ramp 150% of limit at 50Mi/s", 7 * s, 750, map[time.Duration]mem.Bytes{0: 400, 1 * s: 450}},
		{"fill 100Mi, await, ramp 300Mi at 50Mi/s, hold 1s", 5 * s, 300, map[time.Duration]mem.Bytes{2 * s: 200, 5 * s: 300}},
		{"fill 50% of request", 0, 100, map[time.Duration]mem.Bytes{0: 100}},
	} {
		p, err := Parse(tt.plan)
		if err != nil {
			t.Errorf("%s: %v", tt.plan, err)
			continue
		}
		c, err := p.Curve(Container{Limit: mem.LimitOf(500 * mem.MiB), Request: mem.LimitOf(200 * mem.MiB)})
		if err != nil {
			t.Errorf("%s: %v", tt.plan, err)
			continue
		}
		if c.Duration() != tt.duration || c.Peak() != tt.peak*mem.MiB {
			t.Errorf("%s: Duration %v, Peak %v; want %v, %vMi", tt.plan, c.Duration(), c.Peak(), tt.duration, int64(tt.peak))
		}
		for at, want := range tt.at {
			if got := c.At(at); got != want*mem.MiB {
				t.Errorf("%s: At(%v) = %v, want %vMi", tt.plan, at, got, int64(want))
			}
		}
	}
}

// TestErrorsPoint gives each bad plan with a caret under its first wrong
// character.
func TestErrorsPoint(t *testing.T) {
	for _, tt := range []struct{ plan, caret, message string }{
		{"fill -150Mi", "     ^", "negative"},
		{"fill 150Mb", "     ^", "want a size"},
		{"fill 0", "     ^", "larger than 0"},
		{"fill 99999999999Ti", "     ^", "want a size"},
		{"fill 65Ti", "     ^", "more than any machine"},
		{"fill 1000Gi", "     ^", "larger than the machine's 16Gi"},
		{"hold 1s, fill 600Mi", "              ^", "write 120% of limit"},
		{"fill 2000% of limit", "     ^", "up to 1000%"},
		{"fill 10% of node", "            ^", "the container's own"},
		{"fill 10%", "        ^", `the plan ends where "of" is needed`},
		{"fill 50% of request", "     ^", "no memory request"},
		{"ramp 100Mi", "          ^", `ends where "at" is needed`},
		{"ramp 100Mi at 10Mi", "              ^", "want a rate"},
		{"ramp 100Mi at 10Mx/s", "              ^", "want a size"},
		{"ramp 100Mi at 1/h", "^", "longer than a year"},
		{"hold 5", "     ^", "want a duration"},
		{"hold -5s", "     ^", "longer than 0"},
		{"hold, fill 1Mi", "^", "no end here"},
		{"repeat 3 { hold }", "           ^", "no end here"},
		{"repeat 0 { hold 1s }", "       ^", "want a whole number from 1"},
		{"repeat 3 { hold 1s", "                  ^", `ends where "," or "}"`},
		{"repeat 60000 { hold 1s, hold 1s }", "               ^", "more than 100000 steps"},
		{"leak 1Mi/s noise 10%", "           ^", `want "to"`},
		{"leak 1Mi/s to 9Mi noise 200%", "                        ^", "up to 100%"},
		{"anon hold", "^", "no kind"},
		{"fill 1Mi, shm await", "          ^", "await takes no kind"},
		{"await 5s", "      ^", "a comma"},
		{"fill 50Mi, await, fill 20Mi", "                       ^", "use release or ramp"},
		{"eat 5Mi", "^", "want a step"},
		{"anno fill 5Mi", "^", "want a step"},
		{"fill 5Mi hold", "         ^", "a comma"},
		{"", "^", "the plan ends"},
		{"children 4", "          ^", `ends where ","`},
		{"children x, hold", "         ^", "whole number"},
		{"release 5Mi", "        ^", "only 0 anon"},
		{"fill 5Mi, tmpfs release", "                       ^", "only 0 tmpfs"},
		{"fill 50Mi, fill 20Mi", "                ^", "use release or ramp"},
		{"fill 50Mi, touch 60Mi at 1Mi/s", "                 ^", "only 50Mi anon"},
		{"saw 30Mi..20Mi every 1s", "    ^", "not below"},
		{"file fill 400Mi, fill 400Mi, shm fill 300Mi", "^", "reaches 1.1Gi, more than the machine's"},
	} {
		machine := 16 * mem.GiB
		if strings.Contains(tt.plan, "shm") {
			machine = mem.GiB
		}
		limit := mem.LimitOf(500 * mem.MiB)
		if strings.Contains(tt.plan, "1000Gi") {
			limit = mem.Max
		}
		p, err := Parse(tt.plan)
		if err == nil {
			_, err = p.Curve(Container{Limit: limit, Machine: mem.LimitOf(machine)})
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: error %v, want an *Error", tt.plan, err)
			continue
		}
		caret := strings.Split(err.Error(), "\n\t")[2]
		if !strings.HasPrefix(caret, tt.caret) || !strings.Contains(e.Message, tt.message) {
			t.Errorf("%q: want %q at\n\t%s\n\t%s\ngot %v", tt.plan, tt.message, tt.plan, tt.caret, err)
		}
	}
}

func TestLeakIsNoisyButNeverTurnsBack(t *testing.T) {
	curve := func(text string) Curve {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Curve(Container{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const n = 60
	noisy, other := curve("leak 1Mi/s to 60Mi noise 40% seed 7"), curve("leak 1Mi/s to 60Mi noise 40% seed 8")
	var last mem.Bytes
	differs := 0
	for i := 1; i < n; i++ {
		at := time.Duration(i) * time.Second
		now := noisy.At(at)
		if d := now - last; d < mem.MiB*6/10 || d > mem.MiB*14/10 {
			t.Errorf("second %d leaks %v, want 1Mi within 40%%", i, d.Human())
		}
		if now != other.At(at) {
			differs++
		}
		last = now
	}
	if differs < n/2 {
		t.Errorf("another seed changed only %d of %d seconds", differs, n-1)
	}
	if again := curve("leak 1Mi/s to 60Mi noise 40% seed 7"); again.At(31500*time.Millisecond) != noisy.At(31500*time.Millisecond) {
		t.Error("the same seed gave another curve")
	}
	if got := noisy.At(n * time.Second); got != 60*mem.MiB {
		t.Errorf("ends at %v, want 60Mi", got)
	}
}

func TestExplain(t *testing.T) {
	p, err := Parse("fill 100Mi, ramp 200Mi at 50Mi/s, repeat 30 { spike 400Mi for 1s, hold 1s }")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Curve(Container{})
	if err != nil {
		t.Fatal(err)
	}
	got := c.Explain()
	for _, want := range []string{
		"0s  fill 100Mi                       0 to 100Mi, at once\n",
		"0s  ramp 200Mi at 50Mi/s             100Mi to 200Mi in 2s\n",
		"2s  spike 400Mi for 1s               200Mi to 400Mi and back in 1s\n",
		"and 42 more steps\n",
		"400Mi |", " 1m2s\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if rows := strings.Count(got, " |"); rows != plotHeight {
		t.Errorf("the plot has %d rows, want %d", rows, plotHeight)
	}
}

// TestThen: a balloon, then a wait, then pressure, as a scenario composes them.
func TestThen(t *testing.T) {
	parse := func(text string) Plan {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	balloon, press := parse("children 2, fill 5Mi, repeat 2 { hold 1s }"), parse("ramp 9Mi at 1Mi/s, hold")
	whole := balloon.Then(Step{Verb: Await}).Then(press.Steps...)
	if want := "children 2, fill 5Mi, repeat 2 { hold 1s }, await, ramp 9Mi at 1Mi/s, hold"; whole.String() != want || parse(want).String() != want {
		t.Errorf("Then gives %q, want %q", whole, want)
	}
	if again := balloon.Then(Step{Verb: Hold, For: Forever}); balloon.Endless() || !again.Endless() || len(balloon.Steps) != 2 {
		t.Errorf("%q is endless, or %q is not", balloon, again)
	}
	var e *Error
	if err := whole.Refuse(Await, "no"); !errors.As(err, &e) || e.Message != "no" {
		t.Errorf("Refuse = %v", err)
	}
	if err := parse("fill 1Mi, repeat 2 { await }").Refuse(Await, "no"); !errors.As(err, &e) || e.Text[e.Start:e.End] != "await" {
		t.Errorf("Refuse = %v, want it to point at await", err)
	}
	if err := balloon.Refuse(Await, "no"); err != nil {
		t.Errorf("Refuse = %v where nothing awaits", err)
	}
}

// FuzzParse: no text makes Parse or Curve panic or run away, errors point into
// the text, and what is accepted survives being written and read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"fill 150Mi, hold", "ramp 80% of limit at 100Mi/s, hold 10s", "step 50Mi every 2s to 400Mi",
		"leak 1Mi/s to 90Mi noise 10% seed 7", "spike 200Mi for 2s", "saw 100Mi..300Mi every 4s for 9s",
		"children 3, threads 2, mlock fill 5Mi, touch 1Mi at 50Mi/s for 1s, release 2Mi, release",
		"repeat 3 { fill 5Mi, repeat 2 { hold 1ms }, release }", "fill 5Mi, await, fill 9Mi, hold", "fill 1.5Gi", "é, hold", "hold\n,\tfill 0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			mustPoint(t, text, err)
			return
		}
		written := p.String()
		again, err := Parse(written)
		if err != nil || again.String() != written {
			t.Fatalf("%q is written %q, read back as %q, %v", text, written, again.String(), err)
		}
		c, err := p.Curve(Container{Limit: mem.LimitOf(mem.GiB), Request: mem.LimitOf(mem.MiB)})
		if err != nil {
			mustPoint(t, text, err)
			return
		}
		for s := range c.Segments() {
			for _, at := range []time.Duration{0, 1, s.Duration / 3, s.Duration - 1, s.Duration} {
				if level := s.At(max(0, at)); level < 0 || level > c.Peak() {
					t.Fatalf("%q: level %d outside of 0..%d", text, level, c.Peak())
				}
			}
		}
	})
}

func mustPoint(t *testing.T, text string, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Start < 0 || e.Start > e.End || e.End > len(text) || e.Error() == "" {
		t.Fatalf("%q: error %#v does not point into the text", text, err)
	}
}

func TestPeakOf(t *testing.T) {
	p, err := Parse("file fill 50Mi, fill 20Mi, tmpfs ramp 30Mi at 10Mi/s, spike 90Mi for 1s, release 10Mi, saw 5Mi..70Mi every 2s for 3s")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Curve(Container{Held: map[Kind]mem.Bytes{Memfd: 7 * mem.MiB}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kinds []Kind
		want  mem.Bytes
	}{
		{[]Kind{Anon}, 90}, {[]Kind{Tmpfs, Memfd}, 37}, {[]Kind{File}, 50}, {[]Kind{Anon, Tmpfs}, 120}, {[]Kind{Shm}, 0}, {nil, 0},
	} {
		if got := c.PeakOf(tt.kinds...); got != tt.want*mem.MiB {
			t.Errorf("%v: %s, want %dMi", tt.kinds, got, tt.want)
		}
	}
}
