package oom

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
)

// node is a node of 1000 pages, 600 of them used, with one pod per QoS class
// and a grower that is Guaranteed. 1 point of oom_score_adj is 1 page.
func node() Snapshot {
	cgroup := func(path string, usage mem.Pages) Cgroup {
		return Cgroup{Path: path, Limit: mem.Max, Usage: usage.Bytes(page)}
	}
	s := Snapshot{
		Kernel: testKernel(),
		Cgroups: []Cgroup{
			cgroup("/", 700), cgroup("/node", 600), cgroup("/node/besteffort", 150), cgroup("/node/burstable", 250),
			cgroup("/node/guaranteed", 100), cgroup("/node/grower", 100),
		},
		Tasks: []Task{
			{PID: 10, Order: 1, Name: "besteffort", Cgroup: "/node/besteffort", Anon: 140, PageTables: 10 * page, OOMScoreAdj: 1000},
			{PID: 20, Order: 2, Name: "burstable", Cgroup: "/node/burstable", Anon: 250, OOMScoreAdj: 700},
			{PID: 30, Order: 3, Name: "guaranteed", Cgroup: "/node/guaranteed", Anon: 100, OOMScoreAdj: -997},
			{PID: 40, Order: 4, Name: "grower", Cgroup: "/node/grower", Anon: 100, OOMScoreAdj: -997},
			{PID: 50, Order: 5, Name: "sshd", Cgroup: "/", Anon: 1},
		},
	}
	s.Cgroups[1].Limit = mem.LimitOf(1000 * page)
	return s
}

func sequence(t *testing.T, s Snapshot, p Pressure) Sequence {
	t.Helper()
	seq, err := PredictSequence(s, p)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

type kill struct {
	victim                   int
	growth, growerRSS, freed mem.Pages
}

func kills(seq Sequence) (got []kill) {
	for _, s := range seq.Steps {
		got = append(got, kill{s.Victim, s.Growth, s.GrowerRSS, s.Freed})
	}
	return got
}

func TestSequenceInOrderOfQoS(t *testing.T) {
	s := node()
	seq := sequence(t, s, Pressure{Grower: 40})
	want := []kill{
		{10, 400, 500, 150}, // all that was free; then what the victim held, page tables included
		{20, 150, 650, 250},
		{40, 250, 900, 900}, // 900-997 > 100-997: the grower is larger than the Guaranteed pod
	}
	if got := kills(seq); !slices.Equal(got, want) || seq.End != "the grower is killed" {
		t.Errorf("%+v (%s), want %+v", got, seq.End, want)
	}
	for _, step := range seq.Steps {
		if step.Domain.Path != "/node" || step.Outcome != OutcomeVictim || len(step.Caveats) > 0 {
			t.Errorf("%s in %+v", step.Outcome, step.Domain)
		}
	}
	if fresh := node(); s.Cgroups[1].Usage != fresh.Cgroups[1].Usage || len(s.Tasks) != len(fresh.Tasks) || s.Tasks[3].Anon != 100 {
		t.Error("the snapshot given was changed")
	}
}

func TestSequenceEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Snapshot)
		p      Pressure
		kills  []int
		end    string
	}{
		"asked for one":            {nil, Pressure{Grower: 40, Kills: 1}, []int{10}, "as many kills as asked for"},
		"peak below the first OOM": {nil, Pressure{Grower: 40, Peak: 500}, nil, "the grower reaches its peak"},
		"peak of one page":         {nil, Pressure{Grower: 40, Peak: 1}, nil, "the grower reaches its peak"},
		"peak just above it":       {nil, Pressure{Grower: 40, Peak: 501}, []int{10}, "the grower reaches its peak"},
		"peak before the second":   {nil, Pressure{Grower: 40, Peak: 650}, []int{10}, "the grower reaches its peak"},
		"the grower first":         {func(s *Snapshot) { s.Tasks[3].OOMScoreAdj = 1000 }, Pressure{Grower: 40}, []int{40}, "the grower is killed"},
		"the grower in a group":    {func(s *Snapshot) { s.Cgroups[1].OOMGroup = true }, Pressure{Grower: 40}, []int{10}, "the grower is killed"},
		"panic":                    {func(s *Snapshot) { s.Kernel.PanicOnOOM = 2 }, Pressure{Grower: 40}, []int{0}, "vm.panic_on_oom is 2"},
		"nobody left": {func(s *Snapshot) {
			s.Tasks[2].OOMScoreAdj, s.Tasks[3].OOMScoreAdj = -1000, -1000
		}, Pressure{Grower: 40}, []int{10, 20, 0}, "no process of the cgroup may be killed"},
	} {
		s := node()
		if tc.change != nil {
			tc.change(&s)
		}
		seq := sequence(t, s, tc.p)
		var got []int
		for _, k := range seq.Steps {
			got = append(got, k.Victim)
		}
		if !slices.Equal(got, tc.kills) || seq.End != tc.end {
			t.Errorf("%s: %v, %q; want %v, %q", name, got, seq.End, tc.kills, tc.end)
		}
	}
}

// The grower's own limit is nearer than that of the node.
func TestSequenceInTheGrowersOwnCgroup(t *testing.T) {
	s := node()
	s.Cgroups[5].Limit = mem.LimitOf(300 * page)
	seq := sequence(t, s, Pressure{Grower: 40})
	if got := kills(seq); !slices.Equal(got, []kill{{40, 200, 300, 300}}) || seq.Steps[0].Domain.Path != "/node/grower" {
		t.Errorf("%+v in %+v", got, seq.Steps[0].Domain)
	}
}

func TestSequenceReclaimsBeforeItKills(t *testing.T) {
	s := node()
	s.Cgroups[1].Reclaimable = 30 * page
	if seq := sequence(t, s, Pressure{Grower: 40, Kills: 1}); seq.Steps[0].Growth != 430 {
		t.Errorf("growth %d, want the 400 free pages and 30 of page cache", seq.Steps[0].Growth)
	}
}

// A family takes what is free in equal shares, the first one what is left over,
// and goes on when one of it is killed.
func TestSequenceOfSharers(t *testing.T) {
	s := node()
	s.Tasks = append(s.Tasks, Task{PID: 41, Order: 6, Cgroup: "/node/grower", Anon: 1}, Task{PID: 42, Order: 7, Cgroup: "/node/grower", Anon: 1})
	s.Cgroups[5].Limit = mem.LimitOf(300 * page)
	p := Pressure{Grower: 40, Sharers: []int{41, 42}}
	seq := sequence(t, s, p)
	// 200 pages: 68 and twice 66; then 168 that the victim gave back; then 235.
	want := []kill{{40, 200, 302, 168}, {42, 168, 302, 151}, {41, 151, 302, 302}}
	if diff := cmp.Diff(want, kills(seq), cmp.AllowUnexported(kill{})); diff != "" || seq.End != "the grower is killed" {
		t.Errorf("end %q, kills (-want +got):\n%s", seq.End, diff)
	}
	p.Peak = 303
	if seq := sequence(t, s, p); len(seq.Steps) != 3 {
		t.Errorf("a peak that they reach only together: %+v", kills(seq))
	}
	p.Peak = 302
	if seq := sequence(t, s, p); len(seq.Steps) != 0 || seq.End != "the grower reaches its peak" {
		t.Errorf("peak: %q after %+v", seq.End, kills(seq))
	}
	p.Sharers = []int{41, 99}
	if _, err := PredictSequence(s, p); err == nil || !strings.Contains(err.Error(), "no task 99") {
		t.Errorf("error %v", err)
	}
}

// What is written to a tmpfs belongs to nobody: its writer stays small, and no
// kill gives it back.
func TestSequenceOfUnmappedMemory(t *testing.T) {
	p := Pressure{Grower: 40, Unmapped: true, Kills: 3}
	seq := sequence(t, node(), p)
	want := []kill{{10, 400, 100, 150}, {20, 150, 100, 250}, {40, 250, 100, 100}}
	if diff := cmp.Diff(want, kills(seq), cmp.AllowUnexported(kill{})); diff != "" {
		t.Errorf("kills (-want +got):\n%s", diff)
	}
	p.Peak = 900
	if seq := sequence(t, node(), p); len(seq.Steps) != 2 || seq.End != "the grower reaches its peak" {
		t.Errorf("peak: %q after %+v", seq.End, kills(seq))
	}
}

// A group dies as one step and gives back the memory of all.
func TestSequenceOfGroupKills(t *testing.T) {
	s := node()
	s.Cgroups[2].OOMGroup = true
	s.Tasks = append(s.Tasks, Task{PID: 11, Order: 6, Cgroup: "/node/besteffort", Anon: 20, Swap: 3, OOMScoreAdj: 1000})
	s.Cgroups[2].SwapUsage, s.Cgroups[1].SwapUsage, s.Cgroups[0].SwapUsage = 3*page, 3*page, 5*page
	seq := sequence(t, s, Pressure{Grower: 40, Kills: 2})
	if got := kills(seq); !slices.Equal(got, []kill{{10, 400, 500, 170}, {20, 170, 670, 250}}) || !slices.Equal(seq.Steps[0].Kills, []int{10, 11}) {
		t.Errorf("%+v, first step kills %v", got, seq.Steps[0].Kills)
	}
}

// On cgroup v1 what a victim had in swap is room again as well.
func TestSequenceFreesSwap(t *testing.T) {
	s := node()
	s.Kernel.CgroupVersion = 1
	s.Cgroups[1].SwapLimit, s.Cgroups[1].SwapUsage = mem.LimitOf(1000*page), 50*page
	s.Tasks[0].Swap = 40
	seq := sequence(t, s, Pressure{Grower: 40, Kills: 2})
	if got := kills(seq); !slices.Equal(got, []kill{{10, 350, 450, 150}, {20, 190, 640, 250}}) {
		t.Errorf("%+v", got)
	}
	seq = sequence(t, s, Pressure{Grower: 40, Kills: 2, Restart: 7})
	if got := seq.Steps[1].Growth; got != 183 {
		t.Errorf("growth %d beside a restarted process of 7 pages, want 183", got)
	}
}

// A victim may hold more than its cgroups pay for: pages shared with others.
func TestSequenceNeverFreesMoreThanThereIs(t *testing.T) {
	s := node()
	s.Kernel.CgroupVersion = 1
	s.Cgroups[1].SwapLimit, s.Cgroups[1].SwapUsage = mem.LimitOf(1000*page), 10*page
	s.Tasks[0].Anon, s.Tasks[0].Swap = 2000, 40
	seq := sequence(t, s, Pressure{Grower: 40, Kills: 2})
	if got := seq.Steps[1].Growth; got != 1000 {
		t.Errorf("growth %d after a kill that left nothing, want the whole limit", got)
	}
}

// A restarted victim is small, young, and in its old place: it dies again.
func TestSequenceWithRestarts(t *testing.T) {
	seq := sequence(t, node(), Pressure{Grower: 40, Kills: 3, Restart: 7})
	want := []kill{{10, 400, 500, 150}, {51, 143, 643, 7}, {52, 0, 643, 7}}
	if got := kills(seq); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	again := seq.Steps[1].Candidates[0]
	if again.Name != "besteffort" || again.Cgroup != "/node/besteffort" || again.OOMScoreAdj != 1000 || again.Anon != 7 {
		t.Errorf("restarted as %+v", again)
	}
	s := node()
	s.Tasks = append(s.Tasks, Task{PID: 60, Order: 90, Cgroup: "/node/besteffort", Anon: 7, OOMScoreAdj: 1000})
	second := sequence(t, s, Pressure{Grower: 40, Kills: 2, Restart: 7}).Steps[1]
	if second.Outcome != OutcomeTie || second.Victim != 61 {
		t.Errorf("%s, victim %d; want the restarted one: it is younger than its equal", second.Outcome, second.Victim)
	}
}

// Without a limit on the way up the machine itself runs out.
func TestSequenceOfTheWholeMachine(t *testing.T) {
	s := node()
	left := mem.Pages(50)
	s.Available = &left
	seq := sequence(t, s, Pressure{Grower: 40, Kills: 2})
	if got := kills(seq); !slices.Equal(got, []kill{{10, 50, 150, 150}, {20, 150, 300, 250}}) {
		t.Errorf("%+v", got)
	}
	if d := seq.Steps[0].Domain; d.Constraint != ConstraintNone {
		t.Errorf("domain %+v, want the whole machine", d)
	}
	if left != 50 {
		t.Error("the snapshot given was changed")
	}
	left = 400 // as much as in the cgroup: the machine fails first, by its own allocator
	if d := sequence(t, s, Pressure{Grower: 40, Kills: 1}).Steps[0].Domain; d.Constraint != ConstraintNone {
		t.Errorf("domain %+v", d)
	}
	left = 401
	if d := sequence(t, s, Pressure{Grower: 40, Kills: 1}).Steps[0].Domain; d.Path != "/node" {
		t.Errorf("domain %+v", d)
	}
}

func TestSequenceSaysThatSwapIsNotModelled(t *testing.T) {
	s := node()
	s.Kernel.Swap = 1
	if c := sequence(t, s, Pressure{Grower: 40, Kills: 1}).Steps[0].Caveats; len(c) != 1 || !strings.Contains(c[0], "swap") {
		t.Errorf("caveats %q", c)
	}
}

func TestSequencesThatCannotBe(t *testing.T) {
	s := node()
	if _, err := PredictSequence(s, Pressure{Grower: 99}); err == nil || !strings.Contains(err.Error(), "no task 99") {
		t.Errorf("no grower: %v", err)
	}
	if _, err := PredictSequence(s, Pressure{Grower: 40, Restart: 1}); err == nil || !strings.Contains(err.Error(), "set kills") {
		t.Errorf("endless: %v", err)
	}
	if _, err := PredictSequence(s, Pressure{Grower: 50}); !errors.Is(err, ErrDomain) {
		t.Errorf("no limit above the grower: %v", err)
	}
	s.Tasks[0].Anon = -1
	if _, err := PredictSequence(s, Pressure{Grower: 40}); err == nil {
		t.Error("an invalid snapshot is accepted")
	}
}
