package oom

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
)

const page = 4 * mem.KiB

// testKernel is Linux 7.2, whose counters are exact: 16 GiB of RAM, no swap.
func testKernel() Kernel {
	return Kernel{
		Version: Version{7, 2, 0}, PageSize: page, CPUs: 2, CgroupVersion: 2,
		RAM: (16 * mem.GiB).Pages(page),
	}
}

// at is a task of the cgroup "/a"; its pid is also its place in the walk.
func at(pid int, anon mem.Pages, adj int) Task {
	return Task{PID: pid, Order: pid, Cgroup: "/a", Anon: anon, OOMScoreAdj: adj}
}

// a64 is a snapshot with the tasks in one cgroup "/a" of 64 MiB (16384 pages).
func a64(tasks ...Task) Snapshot {
	return Snapshot{
		Kernel:  testKernel(),
		Cgroups: []Cgroup{{Path: "/a", Limit: mem.LimitOf(64 * mem.MiB), Swappiness: 60}},
		Tasks:   tasks,
	}
}

func predict(t *testing.T, s Snapshot, d Domain, trigger int) Prediction {
	t.Helper()
	p, err := Predict(s, d, trigger)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The numbers of an OOM kill that was provoked on Linux 6.18 in a cgroup of
// 64 MiB: 16384/1000 = 16, so 300 is 4800 pages and 500 is 8000.
func TestBadnessAddsUp(t *testing.T) {
	big, small := at(11, 9865-120, 300), at(12, 5653-80, 500)
	big.File, big.Shmem, big.PageTables = 100, 20, 31*page+1 // part of a page is no page
	small.File, small.Shmem, small.PageTables = 70, 10, 24*page
	p := predict(t, a64(big, small), Memcg("/a"), 0)
	want := []Candidate{
		{PID: 11, Cgroup: "/a", Anon: 9745, File: 100, Shmem: 20, PageTables: 31, OOMScoreAdj: 300, AdjPages: 4800, Points: 14696, Low: 14696, High: 14696},
		{PID: 12, Cgroup: "/a", Anon: 5573, File: 70, Shmem: 10, PageTables: 24, OOMScoreAdj: 500, AdjPages: 8000, Points: 13677, Low: 13677, High: 13677},
	}
	if diff := cmp.Diff(want, p.Candidates); diff != "" {
		t.Error(diff)
	}
	if p.Outcome != OutcomeVictim || p.Victim != 11 || p.Margin != 1019 || p.CounterError != 0 || len(p.Rivals) != 0 {
		t.Errorf("got %s, victim %d, margin %d, error %d, rivals %v", p.Outcome, p.Victim, p.Margin, p.CounterError, p.Rivals)
	}
	if !slices.Equal(p.Kills, []int{11}) || p.Group != nil {
		t.Errorf("kills %v, group %v", p.Kills, p.Group)
	}
}

func TestSwapAndUnsplitRSSCount(t *testing.T) {
	swapped, unsplit := at(1, 0, 0), at(2, 0, 0)
	swapped.Swap, unsplit.UnsplitRSS = 7, 6
	p := predict(t, a64(swapped, unsplit), Memcg("/a"), 0)
	if p.Victim != 1 || p.Candidates[0].Points != 7 || p.Candidates[1].Points != 6 {
		t.Errorf("victim %d of %+v", p.Victim, p.Candidates)
	}
}

// Not in any rss: a writer of tmpfs or page cache is invisible.
func TestTheLargestUserOfMemoryMayBeInvisible(t *testing.T) {
	s := a64(at(1, 64, 0), at(2, 10240, 0))
	s.Cgroups[0].Usage = 64 * mem.MiB // 60 MiB of it are pid 1's file in tmpfs
	if p := predict(t, s, Memcg("/a"), 1); p.Victim != 2 {
		t.Errorf("victim %d", p.Victim)
	}
}

// Up to 999 pages of limit, oom_score_adj has no weight at all, except -1000.
func TestTheKernelDividesFirst(t *testing.T) {
	for limit, wantAdj := range map[mem.Pages]mem.Pages{999: 0, 1000: 1000, 1999: 1000, 2000: 2000} {
		s := a64(at(1, 1, 1000))
		s.Cgroups[0].Limit = mem.LimitOf(limit.Bytes(page))
		if p := predict(t, s, Memcg("/a"), 0); p.Candidates[0].AdjPages != wantAdj {
			t.Errorf("limit of %d pages: adj is worth %d, want %d", limit, p.Candidates[0].AdjPages, wantAdj)
		}
	}
}

func TestTotalPages(t *testing.T) {
	const swap = 1000
	v1, v2 := 1, 2
	gib := (1 * mem.GiB).Pages(page)
	for name, tc := range map[string]struct {
		version int
		cgroup  Cgroup
		want    mem.Pages
	}{
		"no swap allowed":           {v2, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.LimitOf(0), Swappiness: 60}, gib},
		"some swap":                 {v2, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.LimitOf(400 * page), Swappiness: 60}, gib + 400},
		"more swap than there is":   {v2, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.LimitOf(4000 * page), Swappiness: 60}, gib + swap},
		"unlimited swap":            {v2, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.Max, Swappiness: 1}, gib + swap},
		"swap not accounted":        {v2, Cgroup{Limit: mem.LimitOf(mem.GiB), Swappiness: 60}, gib + swap},
		"swappiness 0":              {v2, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.Max}, gib},
		"v1: memsw is the sum":      {v1, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.LimitOf(mem.GiB + 400*page), Swappiness: 60}, gib + 400},
		"v1: memsw equal":           {v1, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.LimitOf(mem.GiB), Swappiness: 60}, gib},
		"v1: memsw far above":       {v1, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.LimitOf(9 * mem.GiB), Swappiness: 60}, gib + swap},
		"v1: memsw below the limit": {v1, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.LimitOf(mem.MiB), Swappiness: 60}, gib},
		"v1: memsw unlimited":       {v1, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.Max, Swappiness: 60}, gib + swap},
		"v1: swappiness 0":          {v1, Cgroup{Limit: mem.LimitOf(mem.GiB), SwapLimit: mem.Max}, gib},
		"part of a page":            {v2, Cgroup{Limit: mem.LimitOf(2*page + 1), SwapLimit: mem.LimitOf(0)}, 2},
		"limit 0":                   {v2, Cgroup{Limit: mem.LimitOf(0), SwapLimit: mem.LimitOf(0)}, 1},
	} {
		s := a64()
		s.Kernel.CgroupVersion, s.Kernel.Swap = tc.version, swap
		tc.cgroup.Path = "/x"
		s.Cgroups = append(s.Cgroups, tc.cgroup)
		got, err := s.TotalPages(Memcg("/x"))
		if err != nil || got.Pages != tc.want {
			t.Errorf("%s: %d, %v; want %d", name, got.Pages, err, tc.want)
		}
	}
}

func TestTotalPagesOfTheMachineAndItsNodes(t *testing.T) {
	s := a64()
	s.Kernel.Swap, s.Kernel.NodePages = 100, []mem.Pages{1000, 2000, 4000}
	for name, tc := range map[string]struct {
		d    Domain
		want TotalPages
	}{
		"global": {Global, TotalPages{4194404, []Term{{"totalram_pages", 4194304}, {"total_swap_pages", 100}}}},
		"cpuset": {Domain{Constraint: ConstraintCPUSet, Nodes: []int{0, 2}}, TotalPages{5100, []Term{{"node 0", 1000}, {"node 2", 4000}, {"total_swap_pages", 100}}}},
		"policy": {Domain{Constraint: ConstraintMemoryPolicy, Nodes: []int{1}}, TotalPages{2100, []Term{{"node 1", 2000}, {"total_swap_pages", 100}}}},
	} {
		got, err := s.TotalPages(tc.d)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestDomainsThatCannotRunOut(t *testing.T) {
	s := a64(at(1, 1, 0))
	s.Kernel.NodePages = []mem.Pages{1000}
	s.Cgroups = append(s.Cgroups, Cgroup{Path: "/max", Limit: mem.Max}, Cgroup{Path: "/unknown"})
	for want, d := range map[string]Domain{
		"limit is max":          Memcg("/max"),
		"limit is unknown":      Memcg("/unknown"),
		"no such cgroup":        Memcg("/b"),
		"name the memory nodes": {Constraint: ConstraintCPUSet},
		"node 1 are not known":  {Constraint: ConstraintCPUSet, Nodes: []int{1}},
		"node -1 are not known": {Constraint: ConstraintMemoryPolicy, Nodes: []int{-1}},
		"not a constraint":      {},
	} {
		if _, err := Predict(s, d, 0); !errors.Is(err, ErrDomain) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want ErrDomain: %s", d, err, want)
		}
	}
}

// nested has siblings whose order of creation is not that of their names.
func nested(tasks ...Task) Snapshot {
	s := a64(tasks...)
	s.Cgroups = []Cgroup{
		{Path: "/a/late", ID: 30}, {Path: "/a/late/child", ID: 5}, {Path: "/a/zeal", ID: 20},
		{Path: "/a", ID: 10, Limit: mem.LimitOf(64 * mem.MiB)}, {Path: "/ab", ID: 11},
	}
	return s
}

func in(cgroup string, t Task) Task { t.Cgroup = cgroup; return t }

func TestEqualPointsFallToTheLastWalked(t *testing.T) {
	s := nested(in("/a/late/child", at(1, 100, 0)), in("/a", at(2, 100, 0)), in("/a/late", at(3, 100, 0)), in("/a/zeal", at(4, 100, 0)), in("/ab", at(5, 100, 0)))
	p := predict(t, s, Memcg("/a"), 0)
	// Pre-order, siblings by age: /a (2), /a/zeal (4), /a/late (3), its child (1).
	if p.Outcome != OutcomeTie || p.Victim != 1 || !slices.Equal(p.Rivals, []int{3, 4, 2}) || p.Margin != 0 {
		t.Errorf("memcg: %s, victim %d, rivals %v, margin %d", p.Outcome, p.Victim, p.Rivals, p.Margin)
	}
	if p := predict(t, s, Global, 0); p.Outcome != OutcomeTie || p.Victim != 5 || !slices.Equal(p.Rivals, []int{4, 3, 2, 1}) {
		t.Errorf("global: %s, victim %d, rivals %v; want the youngest", p.Outcome, p.Victim, p.Rivals)
	}
	s.FromReport = true // the table's rows are the walk
	if p := predict(t, s, Memcg("/a"), 0); p.Victim != 5 {
		t.Errorf("from a report: victim %d, want that of the last row", p.Victim)
	}
}

func TestOneCgroupIsWalkedByAgeThenPID(t *testing.T) {
	old, young, wrapped := at(9, 1, 0), at(3, 1, 0), at(4, 1, 0)
	old.Order, young.Order, wrapped.Order = 1, 2, 2
	if p := predict(t, a64(young, wrapped, old), Memcg("/a"), 0); p.Victim != 4 || !slices.Equal(p.Rivals, []int{3, 9}) {
		t.Errorf("victim %d, rivals %v", p.Victim, p.Rivals)
	}
}

// A task in a cgroup that the snapshot lacks is walked with the nearest above.
func TestUnlistedCgroup(t *testing.T) {
	s := a64(at(1, 1, 0), in("/a/gone/deep", at(2, 5, 0)), in("/elsewhere", at(3, 9, 0)))
	if p := predict(t, s, Memcg("/a"), 0); p.Victim != 2 || len(p.Candidates) != 2 {
		t.Errorf("victim %d of %d", p.Victim, len(p.Candidates))
	}
}

func TestWhoCannotBeChosen(t *testing.T) {
	with := func(change func(*Task)) Task {
		big := at(1, 9000, 0)
		change(&big)
		return big
	}
	for reason, task := range map[string]Task{
		"init of the machine":               with(func(t *Task) { t.GlobalInit = true }),
		"kernel thread":                     with(func(t *Task) { t.Kthread = true }),
		"has no memory of its own":          with(func(t *Task) { t.NoMM = true }),
		"oom_score_adj -1000":               with(func(t *Task) { t.OOMScoreAdj = -1000 }),
		"already reaped":                    with(func(t *Task) { t.OOMSkip = true }),
		"in vfork":                          with(func(t *Task) { t.Vfork = true }),
		"an earlier victim, already reaped": with(func(t *Task) { t.Victim, t.OOMSkip = true, true }),
	} {
		task.Name = "big"
		p := predict(t, a64(task, at(2, 1, -999)), Memcg("/a"), 0)
		if p.Victim != 2 || len(p.Candidates) != 1 || p.Outcome != OutcomeVictim || p.Margin != 0 {
			t.Errorf("%s: %s, victim %d", reason, p.Outcome, p.Victim)
		}
		if diff := cmp.Diff([]Excluded{{1, "big", reason}}, p.Excluded); diff != "" {
			t.Error(diff)
		}
	}
}

// The cpuset and the bind policy confine the choice, except in a memory cgroup.
func TestMemoryNodes(t *testing.T) {
	far, near, free := at(1, 30, 0), at(2, 20, 0), at(3, 10, 0)
	far.Nodes, near.Nodes = []int{1}, []int{0, 1}
	s := a64(far, near, free)
	s.Kernel.NodePages = []mem.Pages{1000, 1000}
	for _, tc := range []struct {
		d    Domain
		want []int
	}{
		{Domain{Constraint: ConstraintCPUSet, Nodes: []int{0}}, []int{2, 3}},
		{Domain{Constraint: ConstraintMemoryPolicy, Nodes: []int{0}}, []int{2, 3}},
		{Domain{Constraint: ConstraintNone, Nodes: []int{0}}, []int{2, 3}},
		{Global, []int{1, 2, 3}},
		{Domain{Constraint: ConstraintMemcg, Path: "/a", Nodes: []int{0}}, []int{1, 2, 3}},
	} {
		var got []int
		for _, c := range predict(t, s, tc.d, 0).Candidates {
			got = append(got, c.PID)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v: candidates %v, want %v", tc.d, got, tc.want)
		}
	}
}

// A process in swapoff has the highest points there are, whatever its score.
func TestOriginIsKilledFirst(t *testing.T) {
	first, second := at(1, 1, -1000), at(2, 1, 0)
	first.Origin = true
	p := predict(t, a64(first, at(3, 9000, 1000), second), Memcg("/a"), 0)
	if p.Victim != 1 || p.Outcome != OutcomeVictim || !p.Candidates[0].Origin || p.Margin <= 0 {
		t.Errorf("%s: victim %d, margin %d", p.Outcome, p.Victim, p.Margin)
	}
	second.Origin = true
	if p := predict(t, a64(first, second), Memcg("/a"), 0); p.Victim != 2 || p.Outcome != OutcomeTie {
		t.Errorf("two origins: %s, victim %d; want the later one", p.Outcome, p.Victim)
	}
	alone := predict(t, a64(first, at(3, 1, -999)), Memcg("/a"), 0)
	if alone.Margin <= 0 {
		t.Errorf("margin over negative points overflows to %d", alone.Margin)
	}
}

func TestOutcomes(t *testing.T) {
	small, big := at(1, 10, 0), at(2, 20, 0)
	dying, reaped := at(3, 5, 0), at(3, 5, 0)
	dying.Victim, reaped.Victim, reaped.OOMSkip = true, true, true
	elsewhere := in("/b", dying)
	immune := at(4, 50, -1000)
	noMM, kthread, initial := at(5, 0, 0), at(6, 0, 0), at(7, 0, 0)
	noMM.NoMM, kthread.Kthread, initial.GlobalInit = true, true, true
	far := at(8, 5, 0)
	far.Nodes = []int{1}
	cpuset := Domain{Constraint: ConstraintCPUSet, Nodes: []int{0}}
	allocating := Kernel{KillAllocatingTask: true}

	for name, tc := range map[string]struct {
		tasks   []Task
		sysctl  Kernel // PanicOnOOM and KillAllocatingTask
		d       Domain
		trigger int
		want    Outcome
		victim  int
	}{
		"victim":                     {[]Task{small, big}, Kernel{}, Memcg("/a"), 1, OutcomeVictim, 2},
		"only candidate":             {[]Task{small, immune}, Kernel{}, Memcg("/a"), 1, OutcomeVictim, 1},
		"dying":                      {[]Task{small, big, dying}, Kernel{}, Memcg("/a"), 1, OutcomeAborted, 0},
		"dying outside":              {[]Task{small, big, elsewhere}, Kernel{}, Memcg("/a"), 1, OutcomeVictim, 2},
		"dying anywhere, global":     {[]Task{small, big, elsewhere}, Kernel{}, Global, 1, OutcomeAborted, 0},
		"reaped":                     {[]Task{small, big, reaped}, Kernel{}, Memcg("/a"), 1, OutcomeVictim, 2},
		"trigger dying":              {[]Task{small, big, elsewhere}, Kernel{PanicOnOOM: 2}, Memcg("/a"), 3, OutcomeAborted, 0},
		"nobody in a cgroup":         {[]Task{immune}, Kernel{}, Memcg("/a"), 4, OutcomeNone, 0},
		"nobody at all":              {[]Task{immune}, Kernel{}, Global, 4, OutcomePanic, 0},
		"panic 1, global":            {[]Task{small}, Kernel{PanicOnOOM: 1}, Global, 1, OutcomePanic, 0},
		"panic 1, memcg":             {[]Task{small}, Kernel{PanicOnOOM: 1}, Memcg("/a"), 1, OutcomeVictim, 1},
		"panic 1, cpuset":            {[]Task{small}, Kernel{PanicOnOOM: 1}, cpuset, 1, OutcomeVictim, 1},
		"panic 2, memcg":             {[]Task{small}, Kernel{PanicOnOOM: 2}, Memcg("/a"), 1, OutcomePanic, 0},
		"panic before allocating":    {[]Task{small}, Kernel{PanicOnOOM: 1, KillAllocatingTask: true}, Global, 1, OutcomePanic, 0},
		"allocating":                 {[]Task{small, big, dying}, allocating, Global, 1, OutcomeKillAllocating, 1},
		"allocating, memcg":          {[]Task{small, big}, allocating, Memcg("/a"), 1, OutcomeVictim, 2},
		"allocating, not known":      {[]Task{small, big}, allocating, Global, 0, OutcomeUndetermined, 0},
		"allocating, not there":      {[]Task{small, big}, allocating, Global, 99, OutcomeUndetermined, 0},
		"allocating, immune":         {[]Task{small, big, immune}, allocating, Global, 4, OutcomeVictim, 2},
		"allocating, without memory": {[]Task{small, big, noMM}, allocating, Global, 5, OutcomeVictim, 2},
		"allocating, kernel thread":  {[]Task{small, big, kthread}, allocating, Global, 6, OutcomeVictim, 2},
		"allocating, init":           {[]Task{small, big, initial}, allocating, Global, 7, OutcomeVictim, 2},
		"allocating, other nodes":    {[]Task{small, big, far}, allocating, cpuset, 8, OutcomeVictim, 2},
		"allocating, cpuset":         {[]Task{small, big}, allocating, cpuset, 1, OutcomeKillAllocating, 1},
	} {
		s := a64(tc.tasks...)
		s.Kernel.NodePages = []mem.Pages{1000, 1000}
		s.Kernel.PanicOnOOM, s.Kernel.KillAllocatingTask = tc.sysctl.PanicOnOOM, tc.sysctl.KillAllocatingTask
		p := predict(t, s, tc.d, tc.trigger)
		if p.Outcome != tc.want || p.Victim != tc.victim || p.Reason == "" || (len(p.Kills) > 0) != (tc.victim != 0) {
			t.Errorf("%s: %s (%s), victim %d, kills %v; want %s, victim %d", name, p.Outcome, p.Reason, p.Victim, p.Kills, tc.want, tc.victim)
		}
	}
}

func TestGroupKill(t *testing.T) {
	immune, gone, kthread, initial := at(3, 1, -1000), at(4, 0, 0), at(5, 0, 0), at(6, 1, 0)
	gone.NoMM, kthread.Kthread, initial.GlobalInit = true, true, true
	tasks := []Task{
		in("/a/pod/c1", at(1, 10, 0)), in("/a/pod/c1", at(2, 900, 0)), in("/a/pod/c1", immune), in("/a/pod/c1", gone),
		in("/a/pod/c1", kthread), in("/a/pod/c1", initial),
		in("/a/pod/c2", at(7, 10, 0)), in("/a/pod2", at(8, 10, 0)), in("/a", at(9, 10, 0)), in("/", at(10, 10, 0)),
	}
	for name, tc := range map[string]struct {
		flags   []string
		version int
		domain  string // "": global
		want    *Group
	}{
		"none":              {nil, 2, "/a", nil},
		"container":         {[]string{"/a/pod/c1"}, 2, "/a", &Group{"/a/pod/c1", []int{2, 1}}},
		"sibling":           {[]string{"/a/pod/c2", "/a/pod2"}, 2, "/a", nil},
		"highest":           {[]string{"/a/pod/c1", "/a/pod"}, 2, "/a", &Group{"/a/pod", []int{2, 1, 7}}},
		"the domain itself": {[]string{"/a"}, 2, "/a", &Group{"/a", []int{2, 9, 1, 7, 8}}},
		"above the domain":  {[]string{"/a", "/a/pod/c1"}, 2, "/a/pod", &Group{"/a/pod/c1", []int{2, 1}}},
		"global":            {[]string{"/a", "/a/pod/c1"}, 2, "", &Group{"/a", []int{2, 1, 7, 8, 9}}},
		"cgroup v1":         {[]string{"/a/pod/c1"}, 1, "/a", nil},
	} {
		s := a64(tasks...)
		s.Kernel.CgroupVersion, s.Cgroups = tc.version, nil
		for id, path := range []string{"/", "/a", "/a/pod", "/a/pod/c1", "/a/pod/c2", "/a/pod2"} {
			s.Cgroups = append(s.Cgroups, Cgroup{Path: path, ID: uint64(id), Limit: mem.LimitOf(64 * mem.MiB), OOMGroup: slices.Contains(tc.flags, path)})
		}
		d := Memcg(tc.domain)
		if tc.domain == "" {
			d = Global
		}
		p := predict(t, s, d, 0)
		if diff := cmp.Diff(tc.want, p.Group); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		kills := []int{2}
		if tc.want != nil {
			kills = tc.want.PIDs
		}
		if p.Victim != 2 || !slices.Equal(p.Kills, kills) {
			t.Errorf("%s: victim %d, kills %v, want %v", name, p.Victim, p.Kills, kills)
		}
		s.FromReport = true
		if p := predict(t, s, d, 0); p.Group != nil {
			t.Errorf("%s: a report's table does not say who is in which cgroup, but the group is %v", name, p.Group)
		}
	}
}

func TestSnapshotAndPredictionAreJSON(t *testing.T) {
	score := 667
	s := nested(in("/a/late", at(1, 100, 5)))
	s.Tasks[0].ObservedOOMScore = &score
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back, cmp.Comparer(func(a, b mem.Limit) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	p := predict(t, s, Memcg("/a"), 0)
	if data, err = json.Marshal(p); err != nil {
		t.Fatal(err)
	}
	var again Prediction
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, again); diff != "" {
		t.Error(diff)
	}
}
