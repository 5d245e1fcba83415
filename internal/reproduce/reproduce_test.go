package reproduce

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// proc is a process of a report under test.
type proc struct {
	name string
	rss  mem.Bytes // MiB
	adj  int
}

const podPath = "/kubepods/burstable/podc0ffee00-0000-4000-8000-000000000001/" + "abcd"

// reportOf writes a report as kernel 6.18 does: the first process is killed, the
// last one was allocating. Pids count from 11.
func reportOf(domain, victimIn string, limit mem.Bytes, procs ...proc) string {
	var b strings.Builder
	last := len(procs) - 1
	fmt.Fprintf(&b, "%s invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=%d\n", procs[last].name, procs[last].adj)
	fmt.Fprintf(&b, "CPU: 0 UID: 0 PID: %d Comm: %s Not tainted 6.18.44 #1\n", 11+last, procs[last].name)
	fmt.Fprintf(&b, "memory: usage %dkB, limit %dkB, failcnt 5\n", limit*1024, limit*1024)
	b.WriteString("swap: usage 0kB, limit 0kB, failcnt 0\nMemory cgroup stats for " + domain + ":\nanon 1\nTasks state (memory values in pages):\n")
	b.WriteString("[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name\n")
	for i, p := range procs {
		pages := p.rss * mem.MiB / 4096
		fmt.Fprintf(&b, "[%7d]     0 %5d %8d %8d %8d 0 0 %8d 0 %13d %s\n", 11+i, 11+i, 2*pages, pages, pages, (i+1)*4096, p.adj, p.name)
	}
	fmt.Fprintf(&b, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=%s,task_memcg=%s,task=%s,pid=11,uid=0\n", domain, victimIn, procs[0].name)
	fmt.Fprintf(&b, "Memory cgroup out of memory: Killed process 11 (%s) total-vm:%dkB, anon-rss:%dkB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:%d\n",
		procs[0].name, 2*procs[0].rss*1024, procs[0].rss*1024, procs[0].adj)
	return b.String()
}

func options() Options {
	return Options{
		Name: "test", Room: 8 * mem.GiB, Kubelet: qos.Newest, LowestAdj: -1000,
		Kernel: oom.Kernel{Version: oom.Version{Major: 6, Minor: 18}, PageSize: 4096, CgroupVersion: 2, RAM: 4 << 20, CPUs: 2},
	}
}

// make1 makes the attempt of the first report of a log.
func make1(t *testing.T, log string, o Options) (*Attempt, error) {
	t.Helper()
	r, e := read(t, log)
	a, err := New(r, e, o)
	if err == nil {
		var out bytes.Buffer
		if err := a.Scenario.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := scenarios.Parse("made.yaml", &out); err != nil {
			t.Fatalf("the scenario is not valid: %v", err)
		}
	}
	return a, err
}

// read explains the first report of a log.
func read(t *testing.T, log string) (*oomreport.Report, *explain.Explanation) {
	t.Helper()
	s := oomreport.NewScanner(strings.NewReader(log))
	if !s.Scan() {
		t.Fatalf("no report in %q: %v", log, s.Err())
	}
	var x explain.Explainer
	return s.Report(), x.Explain(s.Report())
}

func mustMake(t *testing.T, log string, o Options) *Attempt {
	t.Helper()
	a, err := make1(t, log, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func roleOf(t *testing.T, a *Attempt, name string) Role {
	t.Helper()
	for _, r := range a.Roles {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("nobody plays %s: %v", name, a.Roles)
	return Role{}
}

var kubepods = reportOf("/kubepods", podPath, 700,
	proc{"batch", 200, 1000}, proc{"api", 180, 900}, proc{"db", 100, -997}, proc{"press", 190, 500})

// The same sizes, scores and parts, in the same domain; memory of nobody is
// played, too.
func TestScenario(t *testing.T) {
	a := mustMake(t, kubepods, options())
	if a.Scale != 1 || a.Level != qos.LevelKubepods || a.Scenario.Node.Kubepods() != 700*mem.MiB || a.Scenario.Node.Domain != qos.LevelKubepods {
		t.Errorf("scale %g, level %s, kubepods %s", a.Scale, a.Level, a.Scenario.Node.Kubepods())
	}
	node := qos.Node{Version: qos.Newest, Capacity: a.Scenario.Node.Memory.Bytes, SystemReserved: a.Scenario.Node.Reservation()}
	for _, r := range a.Roles {
		w, ok := a.Scenario.Workload(r.Workload)
		if !ok {
			t.Fatalf("no workload %s", r.Workload)
		}
		pod := w.Pod(w.Name)
		if got := w.ScoreOf(node, pod, pod.Containers[0]); got != r.OOMScoreAdj {
			t.Errorf("%s gets the score %d, want %d", r, got, r.OOMScoreAdj)
		}
		if got := qos.ClassOf(pod, qos.Newest); got != r.Class || w.OOMScoreAdj != nil {
			t.Errorf("%s is %s, want %s, from which the score follows", r, got, r.Class)
		}
		if off := r.Target - r.Held; off != 0 {
			t.Errorf("%s is to hold %s, want %s", r, r.Target, r.Held)
		}
	}
	if !roleOf(t, a, "batch").Victim || !roleOf(t, a, "press").Trigger || a.Scenario.Expect.Killed[0] != "batch-11" {
		t.Errorf("victim and trigger: %+v", a.Roles)
	}
	if a.Rest < 25*mem.MiB || a.Rest > 40*mem.MiB {
		t.Errorf("rest %s, want what 670Mi of 700Mi leave", a.Rest.Human())
	}
	// The lead is 20 MiB and a tenth of 700 MiB.
	if a.Margin < 0.12 || a.Margin > 0.14 {
		t.Errorf("margin %g", a.Margin)
	}
}

// In a container or pod that runs out all are in that one.
func TestOnePod(t *testing.T) {
	procs := []proc{{"java", 150, 950}, {"sh", 20, 950}}
	container := mustMake(t, reportOf(podPath, podPath, 200, procs...), options())
	if w := container.Scenario.Workloads; len(w) != 1 || len(w[0].Containers) != 2 || len(w[0].Containers[0].Beside) != 2 {
		t.Errorf("container: %+v", w)
	}
	pod := mustMake(t, reportOf("/kubepods/burstable/podc0ffee00-0000-4000-8000-000000000001", podPath, 200, procs...), options())
	if w := pod.Scenario.Workloads; len(w) != 1 || len(w[0].Containers) != 0 || w[0].Limits.Memory.Bytes != 200*mem.MiB {
		t.Errorf("pod: %+v", w)
	}
	procs[1].adj = 960
	several := mustMake(t, reportOf("/kubepods/burstable/podc0ffee00-0000-4000-8000-000000000001", podPath, 200, procs...), options())
	if w := several.Scenario.Workloads; len(w) != 1 || len(w[0].Containers) != 2 || w[0].Resources == nil || w[0].Resources.Limits.Memory.Bytes != 200*mem.MiB {
		t.Errorf("pod of two scores: %+v", w)
	}
	foreign := mustMake(t, reportOf("/system.slice/x.service", "/system.slice/x.service", 200, proc{"java", 150, 0}, proc{"sh", 20, 0}), options())
	if c := foreign.Scenario.Workloads[0].Containers[0]; c.OOMScoreAdj == nil || *c.OOMScoreAdj != 0 || roleOf(t, foreign, "java").Class != "" {
		t.Errorf("a service: %+v", c)
	}
}

func TestScale(t *testing.T) {
	small := options()
	small.Room = 700 * mem.MiB
	if a := mustMake(t, kubepods, small); a.Scale != 0.25 || a.Limit != 175*mem.MiB || roleOf(t, a, "api").Target != roleOf(t, a, "api").Held/4 {
		t.Errorf("in 700Mi: scale %g, limit %s, %v", a.Scale, a.Limit, a.Roles)
	}
	tiny := reportOf(podPath, podPath, 6, proc{"a", 2, 950}, proc{"b", 1, 950})
	if a := mustMake(t, tiny, options()); a.Scale != 2 {
		t.Errorf("a victim of 2Mi is played at scale %g, want 2", a.Scale)
	}
	for name, tt := range map[string]struct {
		scale float64
		room  mem.Bytes
		want  string
	}{
		"victim too small": {1. / 128, 0, "a stressor holds at least 3Mi"},
		"too large":        {16, 0, "the machine has room for 8Gi"},
		"never fits":       {0, 400 * mem.MiB, "the machine has room for 400Mi"},
	} {
		o := options()
		o.Scale = tt.scale
		if tt.room != 0 {
			o.Room = tt.room
		}
		if _, err := make1(t, kubepods, o); !errors.Is(err, ErrScale) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrScale with %q", name, err, tt.want)
		}
	}
	// The trigger held 20 MiB; scaled to a hundredth it can't be smaller than
	// 3 MiB and passes the second of the ranking.
	log := reportOf("/kubepods", podPath, 4000, proc{"a", 2000, 1000}, proc{"b", 400, 960}, proc{"t", 20, 990}, proc{"press", 20, 999})
	o := options()
	if a := mustMake(t, log, o); a.Scale != 1 {
		t.Errorf("scale %g", a.Scale)
	}
	if o.Scale = 1. / 128; true {
		if _, err := make1(t, log, o); !errors.Is(err, ErrScale) || !strings.Contains(err.Error(), "is behind") {
			b, _ := make1(t, log, o)
			t.Errorf("an order that changes: %v %+v", err, b)
		}
	}
}

// Any Burstable score follows from a request, on a node of any size.
func TestEveryScoreFollowsFromARequest(t *testing.T) {
	for _, limit := range []mem.Bytes{300, 701, 2048, 3001} {
		for adj := 3; adj < 1000; adj += 7 {
			a := mustMake(t, reportOf("/kubepods", podPath, limit, proc{"a", 200, 1000}, proc{"b", 20, adj}), options())
			w, _ := a.Scenario.Workload(roleOf(t, a, "b").Workload)
			pod := w.Pod(w.Name)
			node := qos.Node{Version: qos.Newest, Capacity: a.Scenario.Node.Memory.Bytes}
			if got := node.OOMScoreAdj(pod, pod.Containers[0]); got != adj || w.OOMScoreAdj != nil {
				t.Fatalf("limit %dMi: score %d, want %d: %+v", limit, got, adj, w)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	head, _, _ := strings.Cut(kubepods, "Tasks state")
	onlyZero := func(o *Options) { o.LowestAdj, o.LowestAdjProof = 0, "as probed" }
	for name, tt := range map[string]struct {
		log  string
		with func(*Options)
		is   error
		want string
	}{
		"no table":  {head + "Memory cgroup out of memory: Killed process 11 (batch) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:1000\n", nil, ErrIncomplete, "task table"},
		"no victim": {strings.Split(kubepods, "oom-kill:")[0], nil, ErrIncomplete, "whom the kernel chose"},
		"another has more": {reportOf("/kubepods", podPath, 700, proc{"a", 100, 0}, proc{"b", 300, 0}), nil,
			ErrIncomplete, "has not the most points"},
		"scores below 0 decide": {reportOf("/kubepods", podPath, 700, proc{"a", 200, 100}, proc{"b", 400, -997}), onlyZero,
			ErrUnsupported, "no score below 0 can be given here (as probed)"},
		"a score of no class, with pods": {reportOf("/kubepods", podPath, 700, proc{"a", 300, 1000}, proc{"b", 200, -500}), func(o *Options) { o.Pods = true },
			ErrUnsupported, "-500 of b/12"},
		"requests of one container, twice": {reportOf("/kubepods", podPath, 700, proc{"a", 300, 1000}, proc{"b", 100, 300}, proc{"b", 90, 300}), func(o *Options) { o.Pods = true },
			ErrUnsupported, "exceed what the node has for pods"},
		"shared memory": {reportOf(podPath, podPath, 100, proc{"a", 105, 950}, proc{"b", 30, 950}), nil, ErrUnsupported, "share memory"},
	} {
		o := options()
		if tt.with != nil {
			tt.with(&o)
		}
		if _, err := make1(t, tt.log, o); !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %v with %q", name, err, tt.is, tt.want)
		}
	}
}
