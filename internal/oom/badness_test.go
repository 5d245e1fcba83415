package oom

import (
	"slices"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// Before Linux 5.9 (5.4.144) badness has a floor of 1: the processes of all
// Guaranteed pods tie there, and the youngest is killed, however small.
func TestBadnessWasUnsigned(t *testing.T) {
	large, small := at(1, 300, -997), at(2, 100, -997)
	for version, want := range map[Version]struct {
		outcome Outcome
		victim  int
		points  mem.Pages
	}{
		{4, 18, 0}:   {OutcomeTie, 2, 1},
		{5, 4, 120}:  {OutcomeTie, 2, 1},
		{5, 4, 143}:  {OutcomeTie, 2, 1},
		{5, 4, 144}:  {OutcomeVictim, 1, 300 - 16*997},
		{5, 8, 18}:   {OutcomeTie, 2, 1},
		{5, 9, 0}:    {OutcomeVictim, 1, 300 - 16*997},
		{5, 10, 0}:   {OutcomeVictim, 1, 300 - 16*997},
		{6, 4, 100}:  {OutcomeVictim, 1, 300 - 16*997},
		{7, 2, 0}:    {OutcomeVictim, 1, 300 - 16*997},
		{0, 0, 0}:    {OutcomeVictim, 1, 300 - 16*997},
		{5, 3, 1000}: {OutcomeTie, 2, 1},
	} {
		s := a64(large, small)
		s.Kernel.Version, s.FromReport = version, true
		p := predict(t, s, Memcg("/a"), 0)
		if p.Outcome != want.outcome || p.Victim != want.victim || p.Candidates[0].Points != want.points {
			t.Errorf("Linux %s: %s, victim %d of %d points; want %+v", version, p.Outcome, p.Victim, p.Candidates[0].Points, want)
		}
		if wantCaveat := !version.AtLeast(5, 4); wantCaveat != (len(p.Caveats) > 0) {
			t.Errorf("Linux %s: caveats %q", version, p.Caveats)
		}
	}
}

// The floor makes a tie certain even where the counters are not exact.
func TestTheFloorHidesTheCounterError(t *testing.T) {
	s := a64(at(1, 300, -997), at(2, 100, -997), at(3, 15952, -997))
	s.Kernel.Version = Version{5, 4, 120}
	p := predict(t, s, Memcg("/a"), 0)
	// 15952 - 16*997 = 0: with 66 pages cached by its thread it may be worth 66.
	if p.Outcome != OutcomeUndetermined || !slices.Equal(p.Rivals, []int{2, 1}) || p.Victim != 3 {
		t.Errorf("%s: victim %d, rivals %v", p.Outcome, p.Victim, p.Rivals)
	}
	s.Tasks = s.Tasks[:2]
	if p := predict(t, s, Memcg("/a"), 0); p.Outcome != OutcomeTie || p.Victim != 2 {
		t.Errorf("%s: victim %d", p.Outcome, p.Victim)
	}
}

func TestCounterError(t *testing.T) {
	for name, tc := range map[string]struct {
		version Version
		cpus    int
		swap    mem.Pages
		threads int
		want    mem.Pages
	}{
		"5.10, one thread":       {Version{5, 10, 0}, 2, 0, 1, 66},
		"6.1, threads not known": {Version{6, 1, 0}, 2, 0, 0, 66},
		"6.1, 30 threads":        {Version{6, 1, 0}, 64, 0, 30, 1980},
		"6.2, 2 CPUs":            {Version{6, 2, 0}, 2, 0, 30, 3 * 31 * 2},
		"6.18, 16 CPUs":          {Version{6, 18, 0}, 16, 0, 1, 3 * 31 * 16},
		"6.18, 17 CPUs":          {Version{6, 18, 0}, 17, 0, 1, 3 * 33 * 17},
		"6.19, 64 CPUs, swap":    {Version{6, 19, 9}, 64, 1, 1, 4 * 127 * 64}, // 127 MiB
		"7.0":                    {Version{7, 0, 0}, 64, 1, 30, 0},
	} {
		k := Kernel{Version: tc.version, CPUs: tc.cpus, Swap: tc.swap}
		if got := k.CounterError(Task{Threads: tc.threads}); got != tc.want {
			t.Errorf("%s: %d pages, want %d", name, got, tc.want)
		}
	}
}

// Linux 6.18 on 2 CPUs: a counter is off by at most 2*31 = 62 pages, three of
// them by 186. A counter can't be read as less than nothing.
func TestUndeterminedWithinTheCounterError(t *testing.T) {
	const low, high = 62 + 5, 186 // of a task with anonymous memory and 5 pages of file
	for _, tc := range []struct {
		lead mem.Pages
		want Outcome
	}{
		{0, OutcomeUndetermined}, {1, OutcomeUndetermined},
		{low + high - 1, OutcomeUndetermined}, {low + high, OutcomeUndetermined}, {low + high + 1, OutcomeVictim},
	} {
		first, second, third := at(1, 5000+tc.lead, 0), at(2, 5000, 0), at(3, 20, 0)
		first.File, second.File = 5, 5
		s := a64(first, second, third)
		s.Kernel.Version = Version{6, 18, 44}
		p := predict(t, s, Memcg("/a"), 0)
		if p.Outcome != tc.want || (len(p.Rivals) == 1) != (tc.want == OutcomeUndetermined) {
			t.Errorf("lead of %d: %s, rivals %v; want %s", tc.lead, p.Outcome, p.Rivals, tc.want)
		}
		if p.CounterError != low+high || p.Margin != tc.lead {
			t.Errorf("lead of %d: margin %d, counter error %d, want %d", tc.lead, p.Margin, p.CounterError, low+high)
		}
		s.FromReport = true
		want := OutcomeVictim
		if tc.lead == 0 {
			want = OutcomeTie
		}
		if p := predict(t, s, Memcg("/a"), 0); p.Outcome != want || p.CounterError != 0 {
			t.Errorf("lead of %d in a report's table: %s, error %d; want %s", tc.lead, p.Outcome, p.CounterError, want)
		}
	}
}

func TestEachCounterHasItsOwnError(t *testing.T) {
	k := testKernel()
	k.Version, k.Swap = Version{6, 18, 0}, 1
	all := Task{Anon: 100, File: 50, Shmem: 10, Swap: 5}
	under, over := k.counterError(&all)
	if under != 62+50+10+5 || over != 4*62 {
		t.Errorf("under %d, over %d", under, over)
	}
	if under, _ := k.counterError(&Task{UnsplitRSS: 1000}); under != 3*62 {
		t.Errorf("rss not split: under %d, want that of three counters", under)
	}
	k.Swap = 0 // where there never was swap its counter never moved
	if under, over := k.counterError(&all); under != 62+50+10 || over != 3*62 {
		t.Errorf("without swap: under %d, over %d", under, over)
	}
	k.Version = Version{6, 1, 0}
	if under, over := k.counterError(&Task{Anon: 3, Swap: 2, Threads: 2}); under != 5 || over != 132 {
		t.Errorf("6.1: under %d, over %d", under, over)
	}
}

func TestOOMScore(t *testing.T) {
	new, old := Version{6, 18, 0}, Version{5, 4, 120}
	for name, tc := range map[string]struct {
		version Version
		task    Task
		want    int
	}{
		"nothing":                {new, at(1, 0, 0), 666},
		"a tenth of the machine": {new, at(1, 200_001, 0), 733}, // (1000+100)*2/3
		"BestEffort":             {new, at(1, 0, 1000), 1333},
		"BestEffort, 10 %":       {new, at(1, 200_000, 1000), 1400},
		"Guaranteed":             {new, at(1, 0, -997), 2},
		"Guaranteed, 50 %":       {new, at(1, 1_000_000, -997), 335},
		"kubelet":                {new, at(1, 0, -999), 0},
		"immune":                 {new, at(1, 1_000_000, -1000), 0},
		"kernel thread":          {new, Task{Kthread: true}, 0},
		"swapoff":                {new, Task{Origin: true}, 666},
		"old: nothing":           {old, at(1, 0, 0), 0},
		"old: half":              {old, at(1, 1_000_000, 0), 500},
		"old: BestEffort":        {old, at(1, 1000, 1000), 1000},
		"old: Guaranteed":        {old, at(1, 1_000_000, -997), 0},
		"old: immune":            {old, at(1, 1_000_000, -1000), 0},
	} {
		k := Kernel{Version: tc.version, PageSize: page, RAM: 1_500_000, Swap: 500_000}
		if got := k.OOMScore(tc.task); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// With totalpages equal to the node's capacity a Burstable process ranks by
// rss less request, so that it may well go before a BestEffort one.
func TestBestEffortDoesNotAlwaysDieFirst(t *testing.T) {
	for _, tc := range []struct {
		adj    int // 1000 - 1000*request/capacity
		victim int
		margin mem.Pages
	}{
		{400, 1, 1000 - (9000 - 16*600)}, // requests 60 %, holds 55 %
		{900, 2, (9000 - 16*100) - 1000}, // requests 10 %
	} {
		p := predict(t, a64(at(1, 1000, 1000), at(2, 9000, tc.adj)), Memcg("/a"), 0)
		if p.Victim != tc.victim || p.Margin != tc.margin {
			t.Errorf("adj %d: victim %d by %d pages, want %d by %d", tc.adj, p.Victim, p.Margin, tc.victim, tc.margin)
		}
	}
}

// Badness is per process: ten small processes hide a large container.
func TestTenSmallProcessesHideALargeContainer(t *testing.T) {
	tasks := []Task{at(99, 1100, 0)}
	for pid := range 10 {
		tasks = append(tasks, at(pid+1, 1000, 0))
	}
	if p := predict(t, a64(tasks...), Memcg("/a"), 0); p.Victim != 99 {
		t.Errorf("victim %d", p.Victim)
	}
}

// On a capped node the highest /proc/PID/oom_score is not the victim: the file
// scales oom_score_adj by the machine, the kill by the limit.
func TestOOMScoreIsNotTheVictimOfACappedNode(t *testing.T) {
	large, small := at(1, 9000, 0), at(2, 1000, 300)
	p := predict(t, a64(large, small), Memcg("/a"), 0)
	k := testKernel()
	if p.Victim != 1 || k.OOMScore(large) >= k.OOMScore(small) {
		t.Errorf("victim %d, oom_score %d and %d", p.Victim, k.OOMScore(large), k.OOMScore(small))
	}
}
