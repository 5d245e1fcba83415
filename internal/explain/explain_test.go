package explain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
)

// task is a row of a table: pid, pages of rss, score, name.
type task struct {
	pid, rss, adj int
	name          string
}

// memcg is a report of a memory cgroup with a limit in pages, in which the first
// of the tasks was chosen and killed.
func memcg(path string, limit int, tasks ...task) *oomreport.Report {
	size := mem.Pages(limit).Bytes(4096)
	r := &oomreport.Report{
		Kernel: "6.18.44", Constraint: oomreport.ConstraintMemcg, Domain: path,
		Memory:  &oomreport.Counter{Usage: size, Limit: mem.LimitOf(size), Failcnt: 7},
		Swap:    &oomreport.Counter{Limit: mem.LimitOf(0)},
		Columns: []string{"uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents", "oom_score_adj"},
	}
	for _, t := range tasks {
		r.Tasks = append(r.Tasks, oomreport.Task{PID: t.pid, TGID: t.pid, TotalVM: mem.Pages(t.rss + 100), RSS: mem.Pages(t.rss), OOMScoreAdj: t.adj, Name: t.name})
	}
	v := tasks[0]
	r.Victim = &oomreport.Victim{PID: v.pid, Name: v.name, Memcg: path}
	r.Kills = []*oomreport.Kill{{PID: v.pid, Name: v.name, Message: "Memory cgroup out of memory", TotalVM: mem.Pages(v.rss + 100).Bytes(4096), Times: 1}}
	return r
}

const pods = "/kubepods.slice"

func TestAgreement(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report *oomreport.Report
		change func(*oomreport.Report)
		want   Agreement
		rank   int
		why    string
	}{
		{
			name: "most points", report: memcg(pods, 100000, task{11, 5000, 1000, "big"}, task{12, 20000, 3, "small"}),
			want: Agrees, rank: 1, why: "(84700 pages) ahead of small/12", // 100 pages a point: 105000 - 20300
		},
		{
			name: "another has more", report: memcg(pods, 100000, task{12, 20000, 3, "small"}, task{11, 5000, 1000, "big"}),
			want: Disagrees, rank: 2, why: "big/11 has 330.9Mi more points",
		},
		{
			name: "equal points, last in the table", report: memcg(pods, 1000, task{12, 50, 0, "a"}, task{11, 50, 0, "b"}),
			change: func(r *oomreport.Report) { r.Tasks[0], r.Tasks[1] = r.Tasks[1], r.Tasks[0] },
			want:   Tie, rank: 1, why: "it is the last in the table",
		},
		{
			name: "equal points, first in the table", report: memcg(pods, 1000, task{12, 50, 0, "a"}, task{11, 50, 0, "b"}),
			want: Tie, rank: 1, why: "kernels before 5.3 keep the first",
		},
		{
			name: "within the counters' error", report: memcg(pods, 100000, task{12, 5000, 0, "a"}, task{11, 5100, 0, "b"}),
			want: Undetermined, rank: 2, why: "may be off by",
		},
		{
			name: "as exact as the kernel", report: memcg(pods, 100000, task{12, 5000, 0, "a"}, task{11, 5100, 0, "b"}),
			change: func(r *oomreport.Report) { r.Kernel = "7.2.0" },
			want:   Disagrees, rank: 2,
		},
		{
			name: "negative points are equal before 5.9", report: memcg(pods, 100000, task{12, 9, -998, "pause"}, task{11, 50000, -998, "app"}),
			change: func(r *oomreport.Report) { r.Kernel = "5.2.0" },
			want:   Tie, rank: 1,
		},
		{
			name: "negative points, kernel not known", report: memcg(pods, 100000, task{12, 9, -998, "pause"}, task{11, 50000, -998, "app"}),
			change: func(r *oomreport.Report) { r.Kernel = "" },
			want:   Tie, rank: 1, why: "where newer ones would choose app/11",
		},
		{
			name: "negative points are told apart since", report: memcg(pods, 100000, task{12, 9, -998, "pause"}, task{11, 50000, -998, "app"}),
			want: Disagrees, rank: 2,
		},
		{
			name: "the size is open and matters", report: memcg(pods, 100000, task{12, 100, 500, "a"}, task{11, 20000, 300, "b"}),
			change: func(r *oomreport.Report) { r.Memory = nil },
			want:   Undetermined, rank: 1, why: "if that is at least 390.6Mi", // 19900/200 = 100 pages a point
		},
		{
			name: "the size is open and does not matter", report: memcg(pods, 100000, task{12, 20000, 500, "a"}, task{11, 100, 300, "b"}),
			change: func(r *oomreport.Report) { r.Memory = nil },
			want:   Agrees, rank: 1,
		},
		{
			name: "swap decides", report: memcg(pods, 100000, task{12, 100, 500, "a"}, task{11, 24100, 300, "b"}),
			change: func(r *oomreport.Report) { r.Swap.Limit = mem.Max },
			want:   Undetermined, rank: 2, why: "the log lacks how much swap",
		},
		{
			name: "the kernel killed who was allocating", report: memcg(pods, 100000, task{12, 20, 3, "small"}, task{11, 5000, 1000, "big"}),
			change: func(r *oomreport.Report) { r.Kills[0].Message = "Out of memory (oom_kill_allocating_task)" },
			want:   Explained, rank: 2, why: "vm.oom_kill_allocating_task",
		},
		{
			name: "a patched kernel", report: memcg(pods, 100000, task{12, 20, 3, "small"}, task{11, 5000, 1000, "big"}),
			change: func(r *oomreport.Report) { r.Columns = append(r.Columns, "nrss") },
			want:   Explained, rank: 2, why: "a column nrss",
		},
		{
			name: "a root process before 4.17", report: memcg("/", 100000, task{12, 1000, 0, "a"}, task{11, 1020, 0, "b"}),
			change: func(r *oomreport.Report) { r.Kernel, r.Tasks[0].UID = "4.4.0", 7 },
			want:   Explained, rank: 2, why: "3% less for processes of root",
		},
		{
			name: "never to be killed", report: memcg(pods, 100000, task{12, 1000, -1000, "a"}, task{11, 10, 0, "b"}),
			want: Disagrees, why: "oom_score_adj -1000",
		},
		{
			name: "no table", report: memcg(pods, 100000, task{12, 1000, 0, "a"}),
			change: func(r *oomreport.Report) { r.Tasks, r.Columns = nil, nil },
			want:   NotJudged, why: "no task table",
		},
		{
			name: "a bare kill", report: &oomreport.Report{Kills: []*oomreport.Kill{{PID: 5, Name: "a", Times: 1}}},
			want: NotJudged, why: "no report about it",
		},
		{
			name: "the victim is not in the table", report: memcg(pods, 100000, task{12, 1000, 0, "a"}, task{11, 10, 0, "b"}),
			change: func(r *oomreport.Report) { r.Victim.PID, r.Victim.Name, r.Kills = 99, "c", nil },
			want:   NotJudged, why: "c/99 is not in the task table",
		},
		{
			name: "the victim is a thread", report: memcg(pods, 100000, task{12, 1000, 0, "a"}, task{11, 10, 0, "b"}),
			change: func(r *oomreport.Report) { r.Victim.PID, r.Kills[0].PID = 99, 99 },
			want:   Agrees, rank: 1, why: "its process is taken to be 12",
		},
		{
			name: "nobody to kill", report: memcg(pods, 100000, task{12, 1000, -1000, "a"}),
			change: func(r *oomreport.Report) { r.Victim, r.Kills, r.NoKillable = nil, nil, true },
			want:   Agrees, why: "the kernel found none",
		},
		{
			name: "somebody to kill after all", report: memcg(pods, 100000, task{12, 1000, 0, "a"}),
			change: func(r *oomreport.Report) { r.Victim, r.Kills, r.NoKillable = nil, nil, true },
			want:   Disagrees,
		},
		{
			name: "impossible numbers", report: memcg(pods, 100000, task{12, 1000, 4000, "a"}),
			want: NotJudged, why: "what no kernel prints",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.change != nil {
				tt.change(tt.report)
			}
			e := new(Explainer).Explain(tt.report)
			rank := 0
			if e.Victim != nil {
				rank = e.Victim.Rank
			}
			if e.Agreement != tt.want || rank != tt.rank || !strings.Contains(strings.Join(e.Why, "\n"), tt.why) {
				t.Errorf("%s, rank %d: %q; want %s, rank %d, %q", e.Agreement, rank, e.Why, tt.want, tt.rank, tt.why)
			}
			if (e.Agreement == Agrees || e.Agreement == Tie) && len(e.Changes) == 0 && e.NoChanges == "" {
				t.Error("no change, and no word why")
			}
			if e.Agreement != Agrees && e.Agreement != Tie && len(e.Changes) > 0 {
				t.Errorf("changes without agreement: %+v", e.Changes)
			}
		})
	}
}

// A process that an earlier report killed is skipped while it is still listed.
func TestKilledBefore(t *testing.T) {
	var x Explainer
	first := memcg(pods, 100000, task{11, 5000, 1000, "big"}, task{12, 200, 3, "small"})
	second := memcg(pods, 100000, task{12, 200, 3, "small"}, task{11, 5000, 1000, "big"})
	if e := x.Explain(first); e.Agreement != Agrees {
		t.Fatalf("first: %s %q", e.Agreement, e.Why)
	}
	if e := x.Explain(second); e.Agreement != Agrees || e.Ranking[1].Excluded != "already reaped" {
		t.Errorf("second: %s %q %+v", e.Agreement, e.Why, e.Ranking)
	}
	if e := new(Explainer).Explain(second); e.Agreement != Disagrees {
		t.Errorf("second alone: %s %q", e.Agreement, e.Why)
	}
}

func TestTotalPages(t *testing.T) {
	limit := func(n int) mem.Limit { return mem.LimitOf(mem.Pages(n).Bytes(4096)) }
	for _, tt := range []struct {
		name      string
		change    func(*oomreport.Report)
		best      mem.Pages
		low, high mem.Pages
	}{
		{"v2 without swap", func(*oomreport.Report) {}, 1000, 1000, 1000},
		{"v2 with some", func(r *oomreport.Report) { r.Swap.Limit = limit(500) }, 1000, 1000, 1500},
		{"v2 with some in use", func(r *oomreport.Report) { r.Swap.Limit = limit(500); r.Tasks[0].SwapEnts = 1 }, 1500, 1000, 1500},
		{"v2 unlimited", func(r *oomreport.Report) { r.Swap.Limit = mem.Max }, 1000, 1000, mostPages},
		{"v1 both alike", func(r *oomreport.Report) {
			r.Swap, r.MemSw = nil, &oomreport.Counter{Limit: limit(1000)}
		}, 1000, 1000, 1000},
		{"v1 memory unlimited", func(r *oomreport.Report) {
			r.Memory.Limit, r.Swap, r.MemSw = mem.Max, nil, &oomreport.Counter{Limit: limit(3000)}
		}, 3000, 3000, 3000},
		{"no limit at all", func(r *oomreport.Report) { r.Memory.Limit, r.Swap = mem.Max, nil }, 0, 1, mostPages},
		{"a limit of nothing", func(r *oomreport.Report) { r.Memory.Limit = limit(0) }, 1, 1, 1},
		{"the score tells", func(r *oomreport.Report) {
			r.Swap.Limit, r.Tasks[0].UID, r.Tasks[0].RSS = mem.Max, 1, 1500
			r.Victim.Score = new(750) // 1500 of 2000
		}, 1998, 1994, 2002},
		{"the machine", func(r *oomreport.Report) {
			*r = *memcgToMachine(r, 5000, 1000, 4*mem.MiB)
		}, 5024, 5024, 5024},
		{"the machine, swap lost", func(r *oomreport.Report) {
			*r = *memcgToMachine(r, 5000, 1000, 0)
			r.Machine.SwapTotal = nil
		}, 4000, 4000, mostPages},
		{"a negative machine", func(r *oomreport.Report) { *r = *memcgToMachine(r, 5000, 6000, 0) }, 0, 1, mostPages},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := memcg(pods, 1000, task{12, 700, 0, "a"})
			tt.change(r)
			got := new(Explainer).Explain(r).TotalPages
			if got.Pages != tt.best || got.Low != tt.low || got.High != tt.high || got.Known != (tt.best > 0) {
				t.Errorf("got %+v, want %d in %d to %d", got, tt.best, tt.low, tt.high)
			}
			if !got.Exact() && got.Open == "" {
				t.Error("not exact, and no word why")
			}
		})
	}
}

func memcgToMachine(r *oomreport.Report, ram, reserved mem.Pages, swap mem.Bytes) *oomreport.Report {
	g := *r
	g.Domain, g.Memory, g.Swap, g.Constraint, g.Global = "", nil, nil, oomreport.ConstraintNone, true
	g.Machine = &oomreport.Machine{RAM: &ram, Reserved: &reserved, SwapTotal: &swap}
	return &g
}

func TestPageSize(t *testing.T) {
	tables := func(sizes ...mem.Bytes) *oomreport.Report {
		r := &oomreport.Report{}
		for i, s := range sizes {
			r.Tasks = append(r.Tasks, oomreport.Task{PID: i + 1, PgtablesBytes: s * mem.KiB})
		}
		return r
	}
	for _, tt := range []struct {
		name   string
		report *oomreport.Report
		want   mem.Bytes
	}{
		{"by the victim", memcg(pods, 100, task{5, 20, 0, "a"}), 4 * mem.KiB},
		{"by the page tables", tables(64, 128, 448, 64), 64 * mem.KiB},
		{"by one that is no multiple", tables(64, 128, 448, 48, 96, 80, 112, 16), 16 * mem.KiB},
		{"too few", tables(64, 128, 64), 0},
		{"nothing", &oomreport.Report{}, 0},
	} {
		if got, _ := pageSize(tt.report); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Each change is confirmed by the model, with the number that makes it true.
func TestChanges(t *testing.T) {
	text := func(e *Explanation) (out []string) {
		for _, c := range e.Changes {
			out = append(out, c.What+" → "+c.Outcome)
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		report *oomreport.Report
		change func(*oomreport.Report)
		node   mem.Bytes
		want   []string
	}{
		{
			// 100 pages a point: 900*100 + 6000 - (800*100 + 1000) = 15000 pages
			// behind; from 749 on, which is 25.1% of the node, the other leads.
			name: "request", report: memcg(pods, 100000, task{11, 6000, 900, "burst"}, task{12, 1000, 800, "calm"}), node: 8 * mem.GiB,
			want: []string{
				"request ≥ 2057Mi of memory for burst/11 (oom_score_adj ≤ 749 on a node of 8Gi) puts it behind calm/12 → calm/12 dies, 400Ki (100 pages) ahead of burst/11",
			},
		},
		{
			name: "request as a share", report: memcg(pods, 100000, task{11, 6000, 900, "burst"}, task{12, 1000, 800, "calm"}),
			want: []string{"request ≥ 25.1% of the node's memory for burst/11 (oom_score_adj ≤ 749) puts it behind calm/12 → calm/12 dies, 400Ki (100 pages) ahead of burst/11"},
		},
		{
			name: "class Guaranteed", report: memcg(pods, 100000, task{11, 6000, 900, "burst"}, task{12, 1000, -997, "calm"}),
			change: func(r *oomreport.Report) { r.Tasks[1].RSS = 7000 },
			want: []string{
				"class Guaranteed (oom_score_adj -997) for burst/11, as no request of a Burstable pod is enough, puts it behind calm/12 → calm/12 dies, 3.9Mi (1000 pages) ahead of burst/11",
				"a memory limit ≤ 27Mi on the container of calm/12, the largest process → that container runs out first, alone: calm/12 dies, and not burst/11",
			},
		},
		{
			name: "smaller", report: memcg(pods, 100000, task{11, 6000, 900, "burst"}, task{12, 5000, 900, "calm"}),
			want: []string{
				"request ≥ 11.1% of the node's memory for burst/11 (oom_score_adj ≤ 889) puts it behind calm/12 → calm/12 dies, 400Ki (100 pages) ahead of burst/11",
				"3.9Mi less in burst/11 (it held 23.4Mi) puts it behind calm/12 → calm/12 dies, 4Ki (1 pages) ahead of burst/11",
			},
		},
		{
			// Workers of one container move together: no request puts one behind the other.
			name: "twins", report: memcg(pods, 100000, task{11, 6000, 900, "work"}, task{12, 5900, 900, "work"}, task{13, 100, 900, "calm"}),
			want: []string{
				"request ≥ 16.0% of the node's memory for work/11 (oom_score_adj ≤ 840) puts it behind calm/13 → calm/13 dies, 400Ki (100 pages) ahead of work/11",
			},
		},
		{
			name: "only one", report: memcg(pods+"/kubepods-pod1.slice", 100000, task{11, 6000, 900, "a"}),
			want: []string{"a limit above 390.6Mi: how much more is needed the log does not tell, as growth was cut off → this allocation succeeds, and nobody dies of it"},
		},
		{
			name: "group", report: memcg(pods, 100000, task{11, 6000, 900, "a"}, task{12, 60, 900, "b"}),
			change: func(r *oomreport.Report) {
				r.GroupKill = pods + "/kubepods-pod1.slice/cri-containerd-x.scope"
				r.Kills = append(r.Kills, &oomreport.Kill{PID: 12, Name: "b", Times: 1})
			},
			want: []string{"singleProcessOOMKill: true in the kubelet's configuration (1.32 and later), which leaves memory.oom.group off → only a/11 dies, not all 2 processes of the container"},
		},
		{
			name: "newer kernel", report: memcg(pods, 100000, task{12, 9, -998, "pause"}, task{11, 50000, -998, "app"}),
			change: func(r *oomreport.Report) { r.Kernel = "5.2.0" },
			want:   []string{"Linux 5.9 or newer (5.4.144 of 5.4), which tells negative numbers apart → app/11 dies, 195.3Mi (49991 pages) ahead of pause/12"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.change != nil {
				tt.change(tt.report)
			}
			x := Explainer{Context: Context{Capacity: tt.node}}
			got := text(x.Explain(tt.report))
			if len(got) > maxChanges || len(got) < len(tt.want) {
				t.Fatalf("%d changes: %q", len(got), got)
			}
			if diff := cmp.Diff(tt.want, got[:len(tt.want)]); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlace(t *testing.T) {
	web := Pod{
		Pod:          qos.Pod{Namespace: "shop", Name: "web-1", UID: "1234-ab"},
		ContainerIDs: map[string][]string{"app": {"aaa", "bbb"}},
	}
	for path, want := range map[string]string{
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234_ab.slice/cri-containerd-bbb.scope": "container app of the Burstable pod shop/web-1",
		"/kubepods/burstable/pod1234-ab":                               "the Burstable pod shop/web-1",
		"/kubepods/burstable/pod99/0123456789012345678901234567890123": "container 012345678901 of the Burstable pod 99",
		"/kubepods/besteffort":                                         "all BestEffort pods",
		"/kubepods.slice":                                              "all pods of the node (kubepods)",
		"/docker/0123456789012345678901234567890123":                   "the Docker container 012345678901",
		"/system.slice/docker-abc.scope":                               "the Docker container abc",
		"/system.slice/nginx.service":                                  "the systemd service nginx.service",
		"/user.slice":                                                  "the systemd slice user.slice",
		"/foo":                                                         "the cgroup /foo",
	} {
		if got := placeOf(path, []Pod{web}).String(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestRanOutNode(t *testing.T) {
	r := memcg("/docker/abc", 1000, task{12, 700, 0, "a"})
	r.Victim.Memcg = "/docker/abc/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice"
	if e := new(Explainer).Explain(r); e.RanOut.Place.Level != "node" {
		t.Errorf("%+v", e.RanOut.Place)
	}
}

func TestMemory(t *testing.T) {
	stats := func(pairs ...any) (s oomreport.Stats) {
		for i := 0; i < len(pairs); i += 2 {
			s = append(s, oomreport.Stat{Name: pairs[i].(string), Value: int64(pairs[i+1].(int)) << 20})
		}
		return s
	}
	for _, tt := range []struct {
		name   string
		change func(*oomreport.Report)
		want   string
	}{
		{"v2", func(r *oomreport.Report) {
			r.Stats = stats("anon", 100, "file", 80, "kernel", 15, "shmem", 60, "sock", 2, "slab_reclaimable", 5, "hugetlb", 3)
			r.Columns = append(r.Columns, "rss_shmem")
			r.Tasks[0].RSSBy = &oomreport.RSSBy{Shmem: 256}
		}, "anonymous 100Mi, shared memory and tmpfs 60Mi, mapped by nobody in the table 59Mi, page cache 20Mi, kernel 15Mi, slab 5Mi, huge pages (hugetlb) 3Mi, sockets 2Mi"},
		{"v1", func(r *oomreport.Report) {
			r.Stats = stats("cache", 1, "total_cache", 70, "total_rss", 110, "total_shmem", 50)
			r.Kmem = &oomreport.Counter{Usage: 8 * mem.MiB}
		}, "anonymous 110Mi, shared memory and tmpfs 50Mi, page cache 20Mi, in no counter of the report 12Mi, kernel 8Mi"},
		{"v1 before 5.1", func(r *oomreport.Report) { r.Stats = stats("cache", 30, "rss", 50, "shmem", 30) },
			"in cgroups below, or in no counter 120Mi, anonymous 50Mi, shared memory and tmpfs 30Mi"},
		{"machine", func(r *oomreport.Report) {
			*r = *memcgToMachine(r, 51200, 0, 0)
			r.MemInfo = oomreport.Stats{{Name: "active_anon", Value: 2560}, {Name: "inactive_anon", Value: 12800}, {Name: "shmem", Value: 2560},
				{Name: "slab_unreclaimable", Value: 10240}, {Name: "free", Value: 256}}
		}, "in no counter of the report (huge pages, drivers, stacks) 99Mi, anonymous 50Mi, slab 40Mi, shared memory and tmpfs 10Mi, free 1Mi"},
		{"nothing", func(*oomreport.Report) {}, ""},
	} {
		r := memcg(pods, 51200, task{12, 700, 0, "a"})
		tt.change(r)
		var got []string
		for _, p := range new(Explainer).Explain(r).Memory {
			got = append(got, fmt.Sprintf("%s %s", p.Name, p.Bytes.Human()))
		}
		if text := strings.Join(got, ", "); text != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, text, tt.want)
		}
	}
}

func TestNotes(t *testing.T) {
	r := memcg(pods, 100000, task{12, 1000, 0, "a"}, task{11, 10, 0, "b"})
	r.Memory.Usage /= 2
	r.Trigger = &oomreport.Trigger{Name: "a", PID: 12, Order: new(2)}
	r.Kills[0].Times = 2
	r.Withheld = 3
	r.Exiting = []oomreport.Process{{PID: 9, Name: "c"}}
	e := new(Explainer).Explain(r)
	all := strings.Join(e.Notes, "\n")
	for _, want := range []string{"195.3Mi below the limit were free", "4 pages in a row", "a/12 is in the log 2 times", "suppressed 3 reports", "c/9 was exiting"} {
		if !strings.Contains(all, want) {
			t.Errorf("notes lack %q:\n%s", want, all)
		}
	}
	if !e.Trigger.IsVictim || e.Trigger.Rank != 1 {
		t.Errorf("trigger %+v", e.Trigger)
	}
}
