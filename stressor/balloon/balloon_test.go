package balloon

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// fakeStore is memory that costs nothing and obeys at once.
type fakeStore struct {
	level, touched mem.Bytes
	calls          int
}

func (f *fakeStore) held() mem.Bytes    { return f.level }
func (f *fakeStore) granule() mem.Bytes { return pageSize }
func (f *fakeStore) grow(by mem.Bytes) error {
	f.level += min(by, fileBatch)
	f.calls++
	return nil
}
func (f *fakeStore) shrink(by mem.Bytes) error { f.level -= by; return nil }
func (f *fakeStore) touch(offset, length mem.Bytes) error {
	if offset+length > f.level {
		return errors.New("touched more than is held")
	}
	f.touched += length
	return nil
}

func newFake(t *testing.T, commands <-chan Command) (*Balloon, map[plan.Kind]*fakeStore) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	events, err := NewEvents(int(null.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	b := &Balloon{Events: events, Commands: commands, stores: map[plan.Kind]store{}}
	fakes := map[plan.Kind]*fakeStore{}
	for _, kind := range plan.Kinds {
		fakes[kind] = &fakeStore{}
		b.stores[kind] = fakes[kind]
	}
	return b, fakes
}

func curveOf(t *testing.T, text string) plan.Curve {
	t.Helper()
	p, err := plan.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Curve(plan.Container{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// TestExecutionFollowsCurve runs random plans against fake memory and fake
// time, with a pause in the middle, and compares the level with the curve at
// many instants: within 1 % or one batch, and 30 % more
// where a leak is noisy.
func TestExecutionFollowsCurve(t *testing.T) {
	for seed := range uint64(200) {
		text := randomPlan(rand.New(rand.NewPCG(seed, 0)))
		synctest.Test(t, func(t *testing.T) {
			curve := curveOf(t, text)
			commands := make(chan Command, 1)
			b, _ := newFake(t, commands)
			done := make(chan error, 1)
			start := time.Now()
			go func() { done <- b.Run(curve) }()
			defer func() { // also after a failure
				select {
				case commands <- Command{Verb: Terminate}:
				default:
				}
			}()

			const pauseAt, pauseFor = 500 * time.Millisecond, 300 * time.Millisecond
			for at := time.Duration(333); at < curve.Duration(); at += 7 * time.Millisecond {
				if at > pauseAt && at-7*time.Millisecond <= pauseAt {
					commands <- Command{Verb: Pause}
					synctest.Wait()
					held := b.total()
					time.Sleep(pauseFor)
					if b.total() != held {
						t.Fatalf("%s: moved from %v to %v while paused", text, held, b.total())
					}
					commands <- Command{Verb: Resume}
					start = start.Add(pauseFor)
				}
				time.Sleep(time.Until(start.Add(at)))
				synctest.Wait()
				want, got := curve.At(at), b.total()
				if diff := max(want-got, got-want); diff > want/100 && diff > pace.Batch*13/10+4*pageSize {
					t.Fatalf("%s: holds %v at %v, the curve says %v", text, got.Human(), at, want.Human())
				}
			}
			if err := <-done; err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if got, want := b.total(), curve.At(curve.Duration()); max(want-got, got-want) > 4*pageSize {
				t.Fatalf("%s: ends at %v, want %v", text, got, want)
			}
		})
	}
}

// randomPlan makes a plan of a few seconds, each step legal after the last.
func randomPlan(r *rand.Rand) string {
	kinds := []string{"", "shm ", "file "}
	levels := map[string]int{} // in MiB
	ms := func(n int) string { return (time.Duration(1+r.IntN(n)) * time.Millisecond).String() }
	mi := func(n int) string { return (mem.Bytes(n) * mem.MiB).String() }
	steps := []string{"fill 20Mi"}
	levels[""] = 20
	for range 2 + r.IntN(6) {
		kind := kinds[r.IntN(len(kinds))]
		level := levels[kind]
		up := level + 1 + r.IntN(60)
		rate := mi(20+r.IntN(80)) + "/s"
		var s string
		switch r.IntN(10) {
		case 0:
			s, levels[kind] = "fill "+mi(up), up
		case 1:
			s, levels[kind] = "ramp "+mi(up)+" at "+rate, up
		case 2:
			down := 1 + r.IntN(max(1, level))
			s, levels[kind] = "ramp "+mi(down)+" at "+rate, down
		case 3:
			s, levels[kind] = "step "+mi(1+r.IntN(30))+" every "+ms(200)+" to "+mi(up), up
		case 4:
			s, levels[kind] = "leak "+rate+" to "+mi(up)+" noise 30% seed "+mi(r.IntN(9))[:1], up
		case 5:
			s = "spike " + mi(up) + " for " + ms(400)
		case 6:
			// ends at a level that the next step may not assume
			s, levels[kind] = "saw 5Mi.."+mi(6+r.IntN(60))+" every 400ms for 1200ms", 5
		case 7:
			if level > 0 {
				s, levels[kind] = "release "+mi(level), 0
			} else {
				s, kind = "hold "+ms(500), ""
			}
		case 8:
			if level > 0 {
				s = "touch " + mi(level) + " at " + rate + " for " + ms(500)
			} else {
				s, kind = "hold "+ms(500), ""
			}
		case 9: // each round ends as it began
			spike := kind + "spike " + mi(up) + " for " + ms(200)
			s, kind = "repeat 2 { "+spike+", repeat 2 { hold "+ms(100)+" }, "+spike+" }", ""
		}
		steps = append(steps, kind+s)
	}
	return strings.Join(steps, ", ")
}

func TestLivePlansBeginAtThePresentLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commands := make(chan Command, 4)
		b, _ := newFake(t, commands)
		done := make(chan error, 1)
		go func() { done <- b.Run(curveOf(t, "fill 100Mi, hold")) }()
		synctest.Wait()
		for _, step := range []struct {
			line string
			want mem.Bytes
		}{{"release 30Mi", 70}, {"spike 200Mi for 1s", 200}, {"pause", 200}, {"resume", 200}, {"release 500Mi", 200}, {"fill 210Mi", 210}} {
			c, err := parseCommand(step.line)
			if err != nil {
				t.Fatal(err)
			}
			commands <- c
			synctest.Wait()
			if b.total() != step.want*mem.MiB {
				t.Errorf("after %q: holds %v, want %vMi", step.line, b.total(), int64(step.want))
			}
		}
		commands <- Command{Verb: Terminate}
		if err := <-done; !errors.Is(err, ErrTerminated) {
			t.Errorf("Run = %v, want ErrTerminated", err)
		}
	})
}

// TestAwait: a balloon that awaits holds, whatever it is told but to go on or
// to follow another plan, and then goes on as if no time had passed.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commands := make(chan Command, 4)
		b, _ := newFake(t, commands)
		done := make(chan error, 1)
		tell := func(verb CommandVerb) {
			commands <- Command{Verb: verb}
			synctest.Wait()
		}
		holds := func(when string, want mem.Bytes) {
			t.Helper()
			synctest.Wait()
			if b.total() != want*mem.MiB {
				t.Errorf("%s: holds %v, want %vMi", when, b.total(), int64(want))
			}
		}
		go func() {
			done <- b.Run(curveOf(t, "fill 100Mi, hold 1s, await, ramp 300Mi at 100Mi/s, await, release, hold"))
		}()
		synctest.Wait()
		tell(Start)
		time.Sleep(500 * time.Millisecond)
		holds("told to start before it awaits", 100)
		time.Sleep(time.Hour)
		tell(Pause)
		time.Sleep(time.Hour)
		holds("an hour later", 100)
		tell(Start)
		time.Sleep(time.Second)
		holds("a second after the start", 200)
		tell(Pause)
		time.Sleep(time.Hour)
		holds("paused", 200)
		tell(Resume)
		time.Sleep(time.Hour)
		holds("at the second wait", 300)
		tell(Start)
		holds("in the end", 0)
		tell(Terminate)
		if err := <-done; !errors.Is(err, ErrTerminated) {
			t.Errorf("Run = %v, want ErrTerminated", err)
		}
	})
}

func TestPauseTakesEffectWithinOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commands := make(chan Command, 1)
		b, fakes := newFake(t, commands)
		commands <- Command{Verb: Pause}
		done := make(chan error, 1)
		go func() { done <- b.Run(curveOf(t, "fill 1Gi")) }()
		synctest.Wait()
		if got := fakes[plan.Anon].calls; got != 1 {
			t.Errorf("grew by %d batches before it paused, want 1", got)
		}
		commands <- Command{Verb: Resume}
		if err := <-done; err != nil || b.total() != mem.GiB {
			t.Errorf("after resume: %v, %v", b.total(), err)
		}
	})
}

func TestTouchKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, fakes := newFake(t, make(chan Command))
		if err := b.Run(curveOf(t, "fill 100Mi, touch 40Mi at 50Mi/s for 4s")); err != nil {
			t.Fatal(err)
		}
		if got := fakes[plan.Anon].touched; got != 200*mem.MiB {
			t.Errorf("touched %v in 4 s, want 200Mi", got)
		}
	})
}

// TestFollowingAPlanAllocatesNothing is what lets the stressor do without a
// garbage collector.
func TestFollowingAPlanAllocatesNothing(t *testing.T) {
	for _, kind := range []string{"anon", "cold", "shm", "memfd"} {
		for threads, spike := range map[int]string{0: "68Mi", 1: "8Mi", 3: "8Mi"} { // 0: enough for a helper
			if threads == 0 && kind != "anon" {
				continue // it takes its time
			}
			b, _ := newFake(t, make(chan Command))
			b.stores, b.Threads = nil, threads // real memory
			cost := func(times string) float64 {
				text := "K fill 4Mi, repeat N { K spike S for 2ms, hold 1ms }, K release"
				c := curveOf(t, strings.NewReplacer("K", kind, "N", times, "S", spike).Replace(text))
				return testing.AllocsPerRun(1, func() {
					if err := b.Run(c); err != nil {
						t.Error(err)
					}
				})
			}
			// The runtime itself allocates now and then, so compare with slack.
			if few, many := cost("2"), cost("22"); many > few+10 {
				t.Errorf("%s, %d threads: 4 steps allocate %v times, 44 steps %v times: want no difference", kind, threads, few, many)
			}
		}
	}
}

// TestCommandsStopAFill: with any number of threads, what is faulted in before
// a command is carried out is a piece for each, and all of it is counted.
func TestCommandsStopAFill(t *testing.T) {
	for _, threads := range []int{0, 1, 3} {
		const pieces = 5
		var asked atomic.Int64
		p := newPool(threads, func() bool { return asked.Add(1) > pieces })
		traits, err := traitsOf(plan.Anon)
		if err != nil {
			t.Fatal(err)
		}
		m := &mapping{traits: traits, pool: p}
		if err := m.grow(stride); err != nil {
			t.Fatal(err)
		}
		if m.held() != pieces*chunk {
			t.Errorf("%d threads: holds %v, want %d pieces of %v", threads, m.held(), pieces, chunk)
		}
		resident := make([]byte, stride/pageSize)
		region := m.regions[0]
		if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&region[0])), uintptr(stride), uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
			t.Fatal(errno)
		}
		for i, r := range resident {
			if want := mem.Bytes(i)*pageSize < m.held(); (r&1 == 1) != want {
				t.Fatalf("%d threads: page %d is resident: %v, want %v", threads, i, r&1 == 1, want)
			}
		}
		// What was not taken is left for the next time.
		asked.Store(-1 << 40)
		if err := m.grow(stride - m.held()); err != nil || m.held() != stride {
			t.Errorf("%d threads: then holds %v, %v; want %v", threads, m.held(), err, stride)
		}
		if err := m.shrink(stride); err != nil || m.held() != 0 {
			t.Errorf("%d threads: still holds %v, %v", threads, m.held(), err)
		}
	}
}
