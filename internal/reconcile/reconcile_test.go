package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

var boot = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// node has one pod a with the containers one and two.
var node = Node{Root: "/node", Boot: boot, Owner: func(cgroup string) record.Owner {
	o := record.Owner{Workload: "a", Pod: "a", Level: qos.LevelContainer}
	switch cgroup {
	case "/node/pods/a/one":
		o.Container = "one"
	case "/node/pods/a/two":
		o.Container = "two"
	case "/node/pods":
		return record.Owner{Level: qos.LevelKubepods}
	default:
		return record.Owner{Level: record.Outside}
	}
	return o
}}

// line is a kill as the kernel logs it, with its report.
func line(at time.Duration, pid int, cgroup string) Line {
	shmem := 4 * mem.MiB
	k := &oomreport.Kill{At: oomreport.Position{Uptime: at}, PID: pid, Name: "stressor", AnonRSS: mem.MiB, FileRSS: 2 * mem.MiB, ShmemRSS: &shmem, Times: 1}
	return Line{Kill: k, Report: &oomreport.Report{
		Domain: "/node/pods", Kills: []*oomreport.Kill{k}, Victim: &oomreport.Victim{PID: pid, Memcg: cgroup},
	}}
}

func (w *Witnesses) log(l Line) {
	if k, ours := Attribute(w.Node, l, w.Processes[l.Kill.PID]); ours {
		w.Logged = append(w.Logged, k)
	}
}

func pod(containers ...record.Container) []record.Pod {
	return []record.Pod{{Name: "a", Workload: "a", UID: "uid", Containers: containers}}
}

func runs(name string) record.Container { return record.Container{Name: name, Running: true} }

func restarted(name, reason string, exitCode int) record.Container {
	return record.Container{
		Name: name, Running: true, RestartCount: 1,
		Ended: &record.Termination{Reason: reason, ExitCode: exitCode, Finished: boot},
	}
}

// agreed is a kill of the first process of container one, seen by everybody.
func agreed() Witnesses {
	w := Witnesses{
		Node: node, Marks: []Mark{{PID: 10, Uptime: time.Second}}, Counted: map[string]int{"/node/pods/a/one": 1},
		Processes: map[int]Process{10: {Cgroup: "/node/pods/a/one", Main: true}, 20: {Cgroup: "/node/pods/a/two", Main: true}},
		Before:    pod(runs("one"), runs("two")),
		After:     pod(restarted("one", "OOMKilled", 137), runs("two")),
	}
	w.log(line(time.Second, 10, "/node/pods/a/one"))
	return w
}

// childKilled is a kill of a child of container one, whose first process gave
// up for it, so that everybody noticed.
func childKilled() Witnesses {
	w := agreed()
	w.Processes[10] = Process{Cgroup: "/node/pods/a/one"}
	w.Logged[0].Main = false
	w.After = pod(restarted("one", "OOMKilled", 1), runs("two"))
	return w
}

func TestAgreement(t *testing.T) {
	r := Reconcile(agreed())
	if len(r.Findings) != 0 {
		t.Errorf("nobody disagrees, but: %v", r.Findings)
	}
	at := boot.Add(time.Second)
	want := record.Kill{
		Order: 1, Decision: 1, Time: at, Marked: &at, PID: 10, Name: "stressor", Main: true, Freed: 7 * mem.MiB,
		Owner: node.Owner("/node/pods/a/one"), OOMCgroup: "/node/pods", TaskCgroup: "/node/pods/a/one", OOMLevel: qos.LevelKubepods,
		Sources: []string{Kmsg, Trace, Cgroup, Runtime},
	}
	if len(r.Kills) != 1 {
		t.Fatalf("kills: %+v", r.Kills)
	}
	got := r.Kills[0]
	got.Report, got.Recorded = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kill (-want +got):\n%s", diff)
	}
	if r := Reconcile(childKilled()); len(r.Findings) != 0 {
		t.Errorf("a child whose end ended the container is not silent: %v", r.Findings)
	}
}

// Without a log the counters tell of the kills. In a cgroup that dies as a whole
// they may count one process twice.
func TestCountersAlone(t *testing.T) {
	w := agreed()
	w.Logged[0] = record.Kill{Time: boot, PID: 10, Main: true, Group: true, TaskCgroup: "/node/pods/a/one", Owner: w.Logged[0].Owner}
	second := w.Logged[0]
	second.PID, second.Main = 11, false
	w.Logged, w.Marks, w.Counted["/node/pods/a/one"] = append(w.Logged, second), nil, 3
	r := Reconcile(w)
	if len(r.Findings) != 0 || len(r.Kills) != 2 || r.Kills[1].Decision != 1 || !r.Kills[1].Group {
		t.Errorf("%v, %+v", r.Findings, r.Kills)
	}
}

// Whenever one observer misses what it should have seen, the disagreement gets
// its name, and no other.
func TestDroppingAnObserver(t *testing.T) {
	noLog := func(w *Witnesses) { w.Logged = nil }
	noKernel := func(w *Witnesses) { w.Logged, w.Marks, w.Counted = nil, nil, nil }
	reason := func(reason string) func(*Witnesses) {
		return func(w *Witnesses) { w.After[0].Containers[0].Ended.Reason = reason }
	}
	for name, tt := range map[string]struct {
		world func() Witnesses
		drop  func(*Witnesses)
		want  []string
	}{
		"the log": {agreed, noLog, []string{"kill-missed-by-kmsg"}},
		"who ended the container after its child": {
			childKilled, func(w *Witnesses) { w.After[0].Containers[0].Ended.ExitCode = 143 }, []string{"OOMKilled-for-a-child"},
		},
		"the log and the trace, but not the counters": {
			agreed, func(w *Witnesses) { w.Logged, w.Marks = nil, nil }, []string{"kill-missed-by-kmsg"},
		},
		"the trace":    {agreed, func(w *Witnesses) { w.Marks = nil }, nil},
		"the counters": {agreed, func(w *Witnesses) { w.Counted = nil }, nil},
		"the kernel, all of it, so that only the runtime tells": {
			agreed, noKernel, []string{"reported-OOMKilled-without-kernel-kill", "restart-without-kill"},
		},
		"the runtime's notice of the OOM": {agreed, reason("Error"), []string{"killed-but-reported-Error"}},
		"that notice and the kernel": {
			agreed, func(w *Witnesses) { reason("Error")(w); noKernel(w) }, []string{"exit-137-without-oom", "restart-without-kill"},
		},
		"the runtime, which sees no end": {childKilled, func(w *Witnesses) { w.After = w.Before }, []string{"child-killed-silently"}},
		"the kernel, where exit code 1 tells nothing": {
			func() Witnesses { w := childKilled(); w.After[0].Containers[0].Ended.Reason = "Error"; return w },
			noKernel, []string{"restart-without-kill"},
		},
		"the log, a part of it, and the counters vanished": {
			agreed, func(w *Witnesses) { w.Logged, w.Counted, w.LogLost = nil, nil, 7 }, []string{"kill-missed-by-kmsg"},
		},
	} {
		w := tt.world()
		tt.drop(&w)
		var got []string
		for _, f := range Reconcile(w).Findings {
			got = append(got, f.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("without %s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestKillKnownByTraceAlone(t *testing.T) {
	w := agreed()
	w.Processes[20] = Process{Cgroup: "/node/pods/a/two", Main: true}
	w.Processes[30] = Process{Cgroup: "/node/pods/a/two"}
	w.Marks = []Mark{
		{PID: 99, Uptime: time.Second / 8}, {PID: 20, Uptime: time.Second / 4}, w.Marks[0], {PID: 30, Uptime: 2 * time.Second},
	}
	w.Counted["/node/pods/a/two"] = 1
	w.After = pod(w.After[0].Containers[0], restarted("two", "OOMKilled", 137))
	r := Reconcile(w)
	if len(r.Kills) != 2 || r.Kills[0].PID != 20 || r.Kills[0].Order != 1 || r.Kills[1].PID != 10 || r.Kills[1].Decision != 2 {
		t.Fatalf("kills: %+v", r.Kills)
	}
	k := r.Kills[0]
	if !slices.Equal(k.Sources, []string{Trace, Cgroup, Runtime}) || k.Owner.Container != "two" || !k.Main {
		t.Errorf("kill: %+v", k)
	}
	var names []string
	for _, f := range r.Findings {
		names = append(names, f.Name)
	}
	// The cgroup counted one kill: the later mark was of an exiting process.
	if !slices.Equal(names, []string{"kill-missed-by-kmsg", "marked-while-exiting"}) {
		t.Errorf("findings: %v", r.Findings)
	}
}

func TestMarkOfAnExitingProcessIsNoKill(t *testing.T) {
	w := agreed()
	w.Marks = append([]Mark{{PID: 20, Uptime: time.Second / 2}}, w.Marks...)
	r := Reconcile(w)
	if len(r.Kills) != 1 || r.Kills[0].Marked == nil || len(r.Findings) != 1 || r.Findings[0].Name != "marked-while-exiting" {
		t.Errorf("kills %+v, findings %v", r.Kills, r.Findings)
	}
}

// The rate limit has withheld the report: the census says whose it was.
func TestBareLineIsAttributed(t *testing.T) {
	w := agreed()
	w.Logged, w.Withheld = nil, 1
	bare := line(time.Second, 10, "")
	bare.Report = &oomreport.Report{Kills: bare.Report.Kills}
	w.log(bare)
	r := Reconcile(w)
	if len(r.Kills) != 1 || r.Kills[0].Owner.Container != "one" || r.Kills[0].Report != nil || !r.Kills[0].Main {
		t.Errorf("kills: %+v", r.Kills)
	}
	if len(r.Findings) != 1 || r.Findings[0].Name != "reports-suppressed" {
		t.Errorf("findings: %v", r.Findings)
	}
	// The census met it too late for the line, and in time for the end.
	w.Unclaimed = []Line{bare, line(0, 77, "")}
	w.Unclaimed[1].Report.Domain = "/other"
	w.Logged = nil
	w.log(line(3*time.Second, 20, "/node/pods/a/two"))
	r = Reconcile(w)
	if len(r.Kills) != 2 || r.Kills[0].PID != 10 || r.Kills[0].Order != 1 || !r.Kills[0].Main {
		t.Errorf("kills: %+v", r.Kills)
	}
	if _, ours := Attribute(node, bare, Process{}); ours {
		t.Error("a bare line about a process that nobody has met is taken for this node's")
	}
	elsewhere := line(time.Second, 10, "/other")
	elsewhere.Report.Domain = "/other"
	if _, ours := Attribute(node, elsewhere, Process{}); ours {
		t.Error("a kill of another node is taken for this node's")
	}
}

// The processes of a group die by one decision, none of them needlessly. The
// kernel kills, marks and counts the first one twice.
func TestGroupKill(t *testing.T) {
	w := agreed()
	w.Logged = nil
	w.Processes[11] = Process{Cgroup: "/node/pods/a/one"}
	l := line(time.Second, 10, "/node/pods/a/one")
	w.log(l)
	back := boot.Add(2 * time.Second)
	w.Logged[0].Uncharged = &back
	l.Kill.Times = 2
	l.Report.GroupKill = "/node/pods/a/one"
	second := &oomreport.Kill{At: l.Kill.At, PID: 11, Times: 1}
	l.Report.Kills = append(l.Report.Kills, second, &oomreport.Kill{PID: 12, Times: 9})
	w.log(Line{Report: l.Report, Kill: second})
	w.Marks = append(w.Marks, Mark{PID: 10, Uptime: time.Second}, Mark{PID: 11, Uptime: time.Second})
	w.Counted["/node/pods/a/one"] = 3
	r := Reconcile(w)
	if len(r.Kills) != 2 || !r.Kills[0].Group || !r.Kills[1].Group || r.Kills[1].Decision != 1 || r.Kills[1].Needless {
		t.Errorf("kills: %+v", r.Kills)
	}
	if len(r.Findings) != 0 {
		t.Errorf("findings: %v", r.Findings)
	}
	w.Counted["/node/pods/a/one"] = 4
	w.After[0].Containers[0].Ended.Reason = "Error"
	r = Reconcile(w)
	if len(r.Findings) != 2 || r.Findings[0].Name != "kill-missed-by-kmsg" || r.Findings[1].Name != "killed-but-reported-Error" {
		t.Fatalf("one more was counted: findings %v", r.Findings)
	}
	if text := r.Findings[0].Text; !strings.Contains(text, "counted 4 kills, the kernel's log has 3") {
		t.Errorf("finding: %s", text)
	}
}

// A kernel that is slow to kill a group is still at one decision, even where the
// log's reader had given the report up.
func TestGroupKillThatTakesLong(t *testing.T) {
	for name, tt := range map[string]struct {
		cgroup string
		same   bool
	}{"in the group": {"/node/pods/a/one", true}, "elsewhere": {"/node/pods/a/two", false}} {
		w := agreed()
		w.Logged, w.Marks = nil, nil
		l := line(time.Second, 10, "/node/pods/a/one")
		l.Report.GroupKill = "/node/pods/a/one"
		w.log(l)
		back := boot.Add(6 * time.Second)
		w.Logged[0].Uncharged = &back
		w.Processes[11] = Process{Cgroup: tt.cgroup}
		late := &oomreport.Kill{At: oomreport.Position{Uptime: 3 * time.Second}, PID: 11, Times: 1}
		w.log(Line{Report: &oomreport.Report{Kills: []*oomreport.Kill{late}}, Kill: late})
		r := Reconcile(w)
		if len(r.Kills) != 2 || (r.Kills[1].Decision == 1) != tt.same || r.Kills[1].Group != tt.same || r.Kills[1].Needless == tt.same {
			t.Errorf("%s: kills %+v", name, r.Kills)
		}
	}
}

// The kernel may kill one process of a group several times, by several of its
// threads.
func TestGroupKillByThreads(t *testing.T) {
	w := agreed()
	l := line(time.Second, 10, "/node/pods/a/one")
	l.Report.GroupKill = "/node/pods/a/one"
	l.Report.Kills = append(l.Report.Kills, &oomreport.Kill{PID: 19, Times: 1})
	w.Logged = nil
	w.log(l)
	w.Threads = map[int]int{10: 10, 19: 10}
	w.Marks = []Mark{{PID: 10, Uptime: time.Second}, {PID: 19, Uptime: time.Second}}
	w.Processes[19] = Process{Cgroup: "/node/pods/a/one"} // whoever looked for it while it was dying
	w.Counted["/node/pods/a/one"] = 2
	if r := Reconcile(w); len(r.Kills) != 1 || len(r.Findings) != 0 {
		t.Errorf("kills %+v, findings %v", r.Kills, r.Findings)
	}
	w.Threads = nil
	if r := Reconcile(w); len(r.Findings) == 0 {
		t.Error("a process that is not known to be the same was counted, and nobody misses it")
	}
}

// A kill that was not needless does not end the search for one that was.
func TestNeedlessLater(t *testing.T) {
	at := func(ms int) *time.Time { t := boot.Add(time.Duration(ms) * time.Millisecond); return &t }
	r := Reconcile(Witnesses{Node: node, Logged: []record.Kill{
		{Time: *at(0), Uncharged: at(50)}, {Time: *at(60), Uncharged: at(90)}, {Time: *at(70)},
	}})
	if r.Kills[1].Needless || !r.Kills[2].Needless {
		t.Errorf("kills: %+v", r.Kills)
	}
}

// A group that is killed needlessly is, to its last process.
func TestNeedlessGroup(t *testing.T) {
	at := func(ms int) *time.Time { t := boot.Add(time.Duration(ms) * time.Millisecond); return &t }
	group := &oomreport.Report{GroupKill: "/node/pods/a/two"}
	r := Reconcile(Witnesses{Node: node, Logged: []record.Kill{
		{Time: *at(0), Uncharged: at(50)}, {Time: *at(10), Uncharged: at(60), Report: group}, {Time: *at(20), Uncharged: at(60), Report: group},
		{Time: *at(70)},
	}})
	var got []bool
	for _, k := range r.Kills {
		got = append(got, k.Needless)
	}
	if want := []bool{false, true, true, false}; !slices.Equal(got, want) || len(r.Findings) != 1 {
		t.Errorf("needless %v, want %v; findings %v", got, want, r.Findings)
	}
}

func TestNeedless(t *testing.T) {
	at := func(ms int) time.Time { return boot.Add(time.Duration(ms) * time.Millisecond) }
	back := at(50)
	group := &oomreport.Report{GroupKill: "/node/pods/a/one"}
	for name, tt := range map[string]struct {
		first, second *oomreport.Report
		at            int
		want          bool
	}{
		"before the release":     {nil, nil, 40, true},
		"after the release":      {nil, nil, 60, false},
		"of the same decision":   {group, group, 1, false},
		"of another group":       {group, &oomreport.Report{GroupKill: "/node/pods/a/one"}, 1, true},
		"after a group's member": {group, nil, 1, true},
	} {
		r := Reconcile(Witnesses{Node: node, Logged: []record.Kill{
			{Time: at(0), Uncharged: &back, Report: tt.first}, {Time: at(tt.at), Report: tt.second},
		}})
		found := len(r.Findings) == 1 && strings.HasPrefix(r.Findings[0].Name, "second-kill")
		if r.Kills[1].Needless != tt.want || found != tt.want {
			t.Errorf("%s: needless %v, findings %v; want %v", name, r.Kills[1].Needless, r.Findings, tt.want)
		}
	}
}

// Nobody can name a container that is killed as it is started until the runtime
// tells how it ended.
func TestContainerNamedLate(t *testing.T) {
	w := agreed()
	w.Logged[0].Owner.Container = ""
	if r := Reconcile(w); r.Kills[0].Owner != node.Owner("/node/pods/a/one") || len(r.Findings) > 0 {
		t.Errorf("owner %+v, findings %v", r.Kills[0].Owner, r.Findings)
	}
}

// One kill is known and another one only counted: still nobody else did it.
func TestKnownAndCountedKillsAddUp(t *testing.T) {
	w := agreed()
	w.Processes[10] = Process{Cgroup: "/node/pods/a/one"}
	w.Logged[0].Main = false
	w.Counted["/node/pods/a/one"] = 2
	w.After = pod(restarted("one", "Error", 137))
	w.After[0].Containers[0].RestartCount = 2
	if r := Reconcile(w); len(r.Findings) != 1 || r.Findings[0].Name != "kill-missed-by-kmsg" {
		t.Errorf("findings: %v", r.Findings)
	}
	w.After[0].Containers[0].RestartCount = 3
	if r := Reconcile(w); len(r.Findings) != 2 || r.Findings[1].Name != "restart-without-kill" {
		t.Errorf("one restart more: findings %v", r.Findings)
	}
	w.After[0].Terminated = "The node was low on resource: memory."
	if r := Reconcile(w); len(r.Findings) != 1 {
		t.Errorf("one restart more of an evicted pod: findings %v", r.Findings)
	}
}

func TestSourcesAreThoseThatSaw(t *testing.T) {
	w := agreed()
	w.Counted, w.NoRuntime = nil, true
	if got := Reconcile(w).Kills[0].Sources; !slices.Equal(got, []string{Kmsg, Trace}) {
		t.Errorf("sources: %v", got)
	}
}

// The report names another victim than the line: a group's second process.
func TestLineOfAnotherProcessThanTheReports(t *testing.T) {
	l := line(time.Second, 10, "/node/pods/a/one")
	l.Report.Victim.PID = 9
	k, ours := Attribute(node, l, Process{Cgroup: "/node/pods/a/two"})
	if !ours || k.TaskCgroup != "/node/pods/a/two" {
		t.Errorf("%v, %+v", ours, k)
	}
	l = line(time.Second, 10, "")
	if k, _ := Attribute(node, l, Process{Cgroup: "/node/pods/a/two"}); k.TaskCgroup != "/node/pods/a/two" {
		t.Errorf("a report that is cut hides what the census knows: %+v", k)
	}
}

// The next first process of the same container is the restart; those before the
// kill, of others, and further ones are not.
func TestRestartedAfter(t *testing.T) {
	w := agreed()
	at := func(s int) time.Duration { return time.Duration(s) * time.Second }
	w.Processes[10] = Process{Cgroup: "/node/pods/a/one", Main: true, Started: at(0)}
	w.Processes[11] = Process{Cgroup: "/node/pods/a/two", Main: true, Started: at(2)}
	w.Processes[12] = Process{Cgroup: "/node/pods/a/one", Started: at(3)}
	w.Processes[13] = Process{Cgroup: "/node/pods/a/one", Main: true, Started: at(11)}
	w.Processes[14] = Process{Cgroup: "/node/pods/a/one", Main: true, Started: at(31)}
	got := Reconcile(w).Kills[0].RestartedAfterSeconds
	if got == nil || *got != 10 {
		t.Errorf("restarted after %v, want 10 s", got)
	}
	w.Logged[0].Main = false
	if got := Reconcile(w).Kills[0].RestartedAfterSeconds; got != nil {
		t.Errorf("a killed child restarts nothing: %v", *got)
	}
}

// What was so before the pressure is no news.
func TestOldEndsAreNoFindings(t *testing.T) {
	w := Witnesses{Node: node}
	w.Before = pod(restarted("one", "OOMKilled", 137), restarted("two", "Error", 137))
	w.After = w.Before
	if r := Reconcile(w); len(r.Findings) != 0 {
		t.Errorf("findings: %v", r.Findings)
	}
	w.After = pod(restarted("one", "OOMKilled", 137), runs("two"))
	w.After[0].Containers[0].RestartCount = 2 // and again within the same second
	if r := Reconcile(w); len(r.Findings) != 2 || r.Findings[0].Name != "reported-OOMKilled-without-kernel-kill" {
		t.Errorf("findings: %v", r.Findings)
	}
	w.After = pod(w.Before[0].Containers...)
	w.After[0].Reason = "Evicted"
	w.After[0].Containers[1].Running = false
	w.After[0].Containers[1].Ended = &record.Termination{Reason: "Error", ExitCode: 137, Finished: boot.Add(time.Second)}
	if r := Reconcile(w); len(r.Findings) != 0 {
		t.Errorf("the kubelet ended an evicted pod, and said so: %v", r.Findings)
	}
}

func TestWithin(t *testing.T) {
	for path, want := range map[string]bool{"/a": true, "/a/b": true, "/ab": false, "/": false, "": false} {
		if got := Within(path, "/a"); got != want {
			t.Errorf("Within(%q, /a) = %v", path, got)
		}
	}
}
