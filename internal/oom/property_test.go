package oom

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// random makes a small snapshot in which ties, groups, dying and immune tasks
// are frequent, and names a domain that may run out.
func random(r *rand.Rand) (Snapshot, Domain) {
	s := Snapshot{Kernel: testKernel()}
	s.Kernel.CgroupVersion = 1 + r.IntN(2)
	s.Kernel.Swap = mem.Pages(r.IntN(2) * 5000)
	s.Kernel.Version = []Version{{5, 4, 100}, {5, 10, 0}, {6, 18, 0}, {7, 2, 0}}[r.IntN(4)]
	paths := []string{"/", "/n", "/n/p", "/n/p/c", "/n/p/d", "/n/q", "/m"}
	for _, i := range r.Perm(len(paths)) {
		s.Cgroups = append(s.Cgroups, Cgroup{
			Path: paths[i], ID: uint64(r.IntN(9)), OOMGroup: r.IntN(4) == 0, Swappiness: r.IntN(2) * 60,
			Limit: mem.LimitOf(mem.Bytes(r.IntN(20_000)) * page), SwapLimit: []mem.Limit{{}, mem.Max, mem.LimitOf(0)}[r.IntN(3)],
		})
	}
	fine := 1 + r.IntN(2)*300 // small numbers tie
	rare := func() bool { return r.IntN(30) == 0 }
	for i := range r.IntN(12) {
		s.Tasks = append(s.Tasks, Task{
			PID: i + 1, Order: r.IntN(12), Cgroup: paths[r.IntN(len(paths))], Threads: r.IntN(4),
			Anon: mem.Pages(r.IntN(3) * 1000), File: mem.Pages(r.IntN(fine)), Shmem: mem.Pages(r.IntN(2)), Swap: mem.Pages(r.IntN(fine)),
			PageTables: mem.Bytes(r.IntN(4000 * fine)), OOMScoreAdj: []int{-1000, -999, -997, 0, 3, 500, 1000}[r.IntN(7)],
			Kthread: rare(), GlobalInit: rare(), NoMM: rare(), Vfork: rare(), OOMSkip: rare(), Victim: rare(), Origin: rare(),
		})
	}
	if r.IntN(3) == 0 {
		return s, Global
	}
	return s, Memcg(paths[r.IntN(len(paths))])
}

// seeds is how many random snapshots each property is tried on.
func seeds() int {
	if testing.Short() {
		return 500
	}
	return 5000
}

func forRandom(t *testing.T, check func(t *testing.T, r *rand.Rand, s Snapshot, d Domain, p Prediction)) {
	for seed := range seeds() {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		s, d := random(r)
		check(t, r, s, d, predict(t, s, d, 0))
		if t.Failed() {
			t.Fatalf("seed %d: %+v", seed, s)
		}
	}
}

// scan is the selection written as the kernel does it, one pass with the best
// so far, over a walk that is written recursively.
func scan(s Snapshot, d Domain, total mem.Pages) (chosen *Task, aborted bool) {
	best := mem.Pages(-1 << 62)
	visit := func(tasks []Task) {
		slices.SortFunc(tasks, func(a, b Task) int { return (a.Order-b.Order)*100 + a.PID - b.PID })
		for i := range tasks {
			t := &tasks[i]
			if t.GlobalInit || t.Kthread || aborted {
				continue
			}
			if t.Victim {
				aborted = !t.OOMSkip
				continue
			}
			points := mem.Pages(1) << 62
			if !t.Origin {
				if t.NoMM || t.OOMScoreAdj == -1000 || t.OOMSkip || t.Vfork {
					continue
				}
				points = t.Anon + t.File + t.Shmem + t.Swap + mem.Pages(t.PageTables/page) + mem.Pages(t.OOMScoreAdj)*(total/1000)
				if !s.Kernel.Version.AtLeast(5, 9) {
					points = max(points, 1)
				}
			}
			if points < best {
				continue
			}
			chosen, best = t, points
		}
	}
	members := func(path string) (tasks []Task) {
		for _, t := range s.Tasks {
			if t.Cgroup == path {
				tasks = append(tasks, t)
			}
		}
		return tasks
	}
	children := map[string][]string{"/": {"/n", "/m"}, "/n": {"/n/p", "/n/q"}, "/n/p": {"/n/p/c", "/n/p/d"}}
	place := func(path string) int {
		i := slices.IndexFunc(s.Cgroups, func(c Cgroup) bool { return c.Path == path })
		return int(s.Cgroups[i].ID)*100 + i
	}
	var descend func(path string)
	descend = func(path string) {
		visit(members(path))
		below := slices.Clone(children[path])
		slices.SortFunc(below, func(a, b string) int { return place(a) - place(b) })
		for _, c := range below {
			descend(c)
		}
	}
	if d.Constraint == ConstraintNone {
		visit(slices.Clone(s.Tasks))
	} else {
		descend(d.Path)
	}
	return chosen, aborted
}

func TestPredictAgreesWithAScanAsTheKernelWritesIt(t *testing.T) {
	outcomes := make(map[Outcome]int)
	forRandom(t, func(t *testing.T, _ *rand.Rand, s Snapshot, d Domain, p Prediction) {
		outcomes[p.Outcome]++
		chosen, aborted := scan(s, d, p.TotalPages.Pages)
		switch {
		case aborted:
			if p.Outcome != OutcomeAborted || p.Victim != 0 {
				t.Errorf("%s, victim %d; want aborted", p.Outcome, p.Victim)
			}
		case chosen == nil:
			if want := map[bool]Outcome{true: OutcomePanic, false: OutcomeNone}[d.Constraint == ConstraintNone]; p.Outcome != want {
				t.Errorf("%s, want %s", p.Outcome, want)
			}
		case p.Victim != chosen.PID:
			t.Errorf("%s, victim %d, want %d", p.Outcome, p.Victim, chosen.PID)
		}
	})
	for _, o := range []Outcome{OutcomeVictim, OutcomeTie, OutcomeUndetermined, OutcomeAborted, OutcomeNone, OutcomePanic} {
		if outcomes[o] < seeds()/100 {
			t.Errorf("only %d of the random snapshots are %s: the test proves little of it", outcomes[o], o)
		}
	}
}

func TestPropertiesOfAPrediction(t *testing.T) {
	forRandom(t, func(t *testing.T, _ *rand.Rand, s Snapshot, d Domain, p Prediction) {
		members := 0
		for _, task := range s.Tasks {
			if d.Constraint == ConstraintNone || isWithin(task.Cgroup, d.Path) {
				members++
			}
			if task.OOMScoreAdj == -1000 && !task.Origin && slices.Contains(p.Kills, task.PID) {
				t.Errorf("%d is immune, but killed", task.PID)
			}
		}
		if len(p.Candidates)+len(p.Excluded) != members {
			t.Errorf("%d candidates and %d excluded of %d members", len(p.Candidates), len(p.Excluded), members)
		}
		for i, c := range p.Candidates {
			if i > 0 && c.Points > p.Candidates[i-1].Points || c.Low > c.Points || c.High < c.Points {
				t.Errorf("rank %d: %+v after %+v", i, c, p.Candidates[max(0, i-1)])
			}
			if sum := c.Anon + c.File + c.Shmem + c.Swap + c.PageTables + c.AdjPages; !c.Origin && s.Kernel.Version.signedBadness() && sum != c.Points {
				t.Errorf("%+v does not add up to %d", c, sum)
			}
		}
		if p.Victim == 0 {
			if len(p.Kills) > 0 || len(p.Rivals) > 0 || p.Group != nil {
				t.Errorf("no victim, but %+v", p)
			}
			return
		}
		if p.Kills[0] != p.Victim || len(p.Kills) != len(slices.Compact(slices.Sorted(slices.Values(p.Kills)))) {
			t.Errorf("kills %v, victim %d", p.Kills, p.Victim)
		}
		if (len(p.Rivals) > 0) != (p.Outcome == OutcomeTie || p.Outcome == OutcomeUndetermined) {
			t.Errorf("%s with rivals %v", p.Outcome, p.Rivals)
		}
		for _, pid := range p.Kills {
			task := s.find(pid)
			if d.Constraint == ConstraintMemcg && !isWithin(task.Cgroup, d.Path) || p.Group != nil && !isWithin(task.Cgroup, p.Group.Path) {
				t.Errorf("%d is killed in %s", pid, task.Cgroup)
			}
		}
	})
}

func TestMoreMemoryOrScoreNeverSavesTheVictim(t *testing.T) {
	forRandom(t, func(t *testing.T, r *rand.Rand, s Snapshot, d Domain, p Prediction) {
		if p.Victim == 0 {
			return
		}
		victim := s.find(p.Victim)
		if victim.OOMScoreAdj < 1000 && victim.OOMScoreAdj > -1000 && r.IntN(2) == 0 {
			victim.OOMScoreAdj++
		} else {
			victim.Anon += mem.Pages(r.IntN(100))
		}
		again := predict(t, s, d, 0)
		if again.Victim != p.Victim || again.Margin < p.Margin || p.Outcome == OutcomeVictim && again.Outcome != OutcomeVictim {
			t.Errorf("victim %d by %d, then %d by %d", p.Victim, p.Margin, again.Victim, again.Margin)
		}
	})
}

func TestTheOrderOfTheListsDoesNotMatter(t *testing.T) {
	forRandom(t, func(t *testing.T, r *rand.Rand, s Snapshot, d Domain, p Prediction) {
		for i := range s.Cgroups { // siblings of one ID stay in the order of the list
			s.Cgroups[i].ID = s.Cgroups[i].ID*100 + uint64(i)
		}
		r.Shuffle(len(s.Cgroups), func(i, j int) { s.Cgroups[i], s.Cgroups[j] = s.Cgroups[j], s.Cgroups[i] })
		r.Shuffle(len(s.Tasks), func(i, j int) { s.Tasks[i], s.Tasks[j] = s.Tasks[j], s.Tasks[i] })
		if again := predict(t, s, d, 0); again.Victim != p.Victim || again.Outcome != p.Outcome || !slices.Equal(again.Kills, p.Kills) {
			t.Errorf("%s %v, then %s %v", p.Outcome, p.Kills, again.Outcome, again.Kills)
		}
	})
}

func TestPIDsAreOnlyNames(t *testing.T) {
	forRandom(t, func(t *testing.T, _ *rand.Rand, s Snapshot, d Domain, p Prediction) {
		for i := range s.Tasks { // the pid is the last resort of the order
			s.Tasks[i].Order = s.Tasks[i].Order*100 + s.Tasks[i].PID
			s.Tasks[i].PID = 1000 - s.Tasks[i].PID
		}
		again := predict(t, s, d, 0)
		if again.Outcome != p.Outcome || p.Victim != 0 && again.Victim != 1000-p.Victim {
			t.Errorf("%s %d, then %s %d", p.Outcome, p.Victim, again.Outcome, again.Victim)
		}
	})
}

func TestGroupsOnlyAddToTheKills(t *testing.T) {
	forRandom(t, func(t *testing.T, _ *rand.Rand, s Snapshot, d Domain, p Prediction) {
		for i := range s.Cgroups {
			s.Cgroups[i].OOMGroup = true
		}
		all := predict(t, s, d, 0)
		for _, pid := range p.Kills {
			if !slices.Contains(all.Kills, pid) {
				t.Errorf("kills %v, with every group flag %v", p.Kills, all.Kills)
			}
		}
		if all.Victim != p.Victim || all.Outcome != p.Outcome {
			t.Errorf("a group flag changes the victim %d to %d", p.Victim, all.Victim)
		}
	})
}

// No snapshot makes the model panic, hang, or contradict itself.
func FuzzPredict(f *testing.F) {
	for seed := range uint64(20) {
		s, d := random(rand.New(rand.NewPCG(seed, 2)))
		data, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, string(d.Constraint), d.Path, 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, constraint, path string, pid int) {
		var s Snapshot
		if json.Unmarshal(data, &s) != nil {
			return
		}
		p, err := Predict(s, Domain{Constraint: Constraint(constraint), Path: path}, pid)
		if err != nil {
			return
		}
		if p.Victim != 0 && (s.find(p.Victim) == nil || p.Kills[0] != p.Victim) {
			t.Errorf("victim %d, kills %v", p.Victim, p.Kills)
		}
		if p.Margin < 0 || p.CounterError < 0 {
			t.Errorf("margin %d, counter error %d", p.Margin, p.CounterError)
		}
		seq, err := PredictSequence(s, Pressure{Grower: pid, Kills: 5})
		if err == nil && (len(seq.Steps) > 5 || seq.End == "") {
			t.Errorf("%d steps, end %q", len(seq.Steps), seq.End)
		}
		s.FirstOverLimit(path, 1)
	})
}
