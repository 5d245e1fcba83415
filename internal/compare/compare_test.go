package compare

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// edit makes a run another one.
type edit func(*record.Record)

func owner(name string) record.Owner {
	return record.Owner{Workload: name, Pod: name, Container: name, Level: qos.LevelContainer}
}

// made is a record made by hand: a and b are killed by the kernel, b by a group
// kill of two processes, and restarted; c is protected and lives.
func made(edits ...edit) *record.Record {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	columns := []string{"uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents", "oom_score_adj", "name"}
	kill := func(order int, pid int, name string, adj int, after time.Duration) record.Kill {
		at := start.Add(time.Second + after)
		released := at.Add(30 * time.Millisecond)
		return record.Kill{
			Order: order, PID: pid, Time: at, Uncharged: &released, Owner: owner(name), OOMScoreAdj: adj, OOMLevel: qos.LevelKubepods,
			OOMCgroup: "/kubepods", TaskCgroup: "/kubepods/" + name, Freed: mem.Bytes(300-50*order) * mem.MiB,
			Sources: []string{"kmsg", "cgroup"}, Report: &oomreport.Report{Columns: columns},
		}
	}
	first, second, third := kill(1, 1, "a", 1000, 2*time.Second), kill(2, 2, "b", 900, 5*time.Second), kill(3, 12, "b", 900, 5*time.Second)
	second.Group, third.Group = true, true
	pod := func(name string, restarts int) record.Pod {
		c := record.Container{Name: name, RestartCount: restarts, Running: true}
		if restarts > 0 {
			since := start.Add(8 * time.Second)
			c.Since, c.Ended = &since, &record.Termination{Reason: "OOMKilled", ExitCode: 137, Finished: start.Add(7 * time.Second)}
		}
		return record.Pod{Name: name, Workload: name, UID: name, Phase: "Running", Containers: []record.Container{c}}
	}
	score := func(name string, adj int) record.Score {
		return record.Score{Owner: owner(name), When: "settled", QoSClass: "Burstable", Formula: adj, Observed: adj, OOMScore: 1000 + adj/3}
	}
	r := &record.Record{
		Schema: record.Schema, Started: start, Lab: "kind", Verdict: record.Pass,
		Host: record.Host{Kernel: "6.18.44", CPUs: 2, MemTotal: 24 * mem.GiB, CgroupVersion: 2, THP: "madvise", LowestAdj: -1000},
		Node: record.Node{Versions: map[string]string{"kubelet": "v1.37.2", "containerd": "2.4.2"}, Settings: map[string]string{"evictionHard.memory.available": "100Mi"}},
		Scenario: &scenarios.Scenario{
			Metadata:  scenarios.Metadata{Name: "story"},
			Workloads: []scenarios.Workload{{Name: "a"}, {Name: "b"}, {Name: "c"}},
			Expect:    scenarios.Expect{Killed: []string{"a", "b"}},
		},
		Limits: []record.Limit{{Owner: owner("b"), QoSClass: "Burstable", Formula: qos.Limits{OOMGroup: true}, Observed: qos.Limits{OOMGroup: true}}},
		Scores: []record.Score{score("a", 1000), score("b", 900), score("c", -997)},
		Owners: map[int]record.Owner{1: owner("a"), 2: owner("b"), 3: owner("c")},
		Forecast: &oom.Sequence{Steps: []oom.Step{
			{Prediction: oom.Prediction{Outcome: oom.OutcomeVictim, Victim: 1}},
			{Prediction: oom.Prediction{Outcome: oom.OutcomeVictim, Victim: 2}},
		}},
		Kills:    []record.Kill{first, second, third},
		Before:   []record.Pod{pod("a", 0), pod("b", 0), pod("c", 0)},
		After:    []record.Pod{pod("a", 1), pod("b", 1), pod("c", 0)},
		Timeline: []record.Event{{AtSeconds: 1, Step: "press"}},
		Claims:   []record.Claim{{Name: "forecast", Verdict: record.Pass}, {Name: "killed", Verdict: record.Pass}, {Name: "scores", Verdict: record.Pass}},
	}
	for _, e := range edits {
		e(r)
	}
	return r
}

func runs(records ...*record.Record) []Run {
	var all []Run
	for i, r := range records {
		all = append(all, Run{Path: fmt.Sprintf("%d.json", i), Record: r})
	}
	return all
}

func times(n int, edits ...edit) []*record.Record {
	var all []*record.Record
	for range n {
		all = append(all, made(edits...))
	}
	return all
}

// lines writes the differences for a table of tests.
func lines(t *testing.T, old, new []Run) []string {
	t.Helper()
	report, err := Compare(old, new)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range report.Cells {
		for _, d := range c.Differences {
			line := fmt.Sprintf("%s: %s", d.Class, d.Title())
			if d.Change != nil {
				line += " by " + d.Change.ID
			}
			if d.Follows != "" {
				line += " from " + d.Follows
			}
			all = append(all, line)
		}
	}
	return all
}

func TestIdenticalRunsDifferInNothing(t *testing.T) {
	if got := lines(t, runs(times(4)...), runs(times(4)...)); got != nil {
		t.Errorf("differences between equal runs: %q", got)
	}
}

// Each change of a run is found, and nothing explains it.
func TestWhatChangesIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		edit edit
		want []string
	}{
		"other victim": {swapVictims, []string{
			"unexplained: forecast", "unexplained: victims from forecast",
			"unexplained: kills per decision of a from victims", "unexplained: kills per decision of b from victims",
		}},
		"not as forecast": {func(r *record.Record) {
			swapVictims(r)
			r.Forecast = made().Forecast
			r.Claims[0].Verdict = record.Fail
		}, []string{
			"unexplained: victims",
			"unexplained: kills per decision of a from victims", "unexplained: kills per decision of b from victims",
			"unexplained: claim of forecast from victims",
		}},
		"fewer victims": {func(r *record.Record) { r.Kills = r.Kills[:1] }, []string{"unexplained: victims"}},
		"what ran out":  {func(r *record.Record) { r.Kills[0].OOMLevel = qos.LevelNode }, []string{"unexplained: what ran out of a"}},
		"group kill":    {func(r *record.Record) { r.Kills = r.Kills[:2] }, []string{"unexplained: kills per decision of b"}},
		"exit code":     {func(r *record.Record) { r.After[0].Containers[0].Ended.ExitCode = 139 }, []string{"unexplained: reported end of a"}},
		"restarts":      {func(r *record.Record) { r.After[0].Containers[0].RestartCount = 2 }, []string{"unexplained: restarts of a"}},
		"phase":         {func(r *record.Record) { r.After[0].Phase = "Failed" }, []string{"unexplained: pod of a"}},
		"eviction":      {func(r *record.Record) { r.After[2].Reason = "Evicted" }, []string{"unexplained: evictions", "unexplained: pod of c from evictions"}},
		"score":         {func(r *record.Record) { r.Scores[2].Observed = 0 }, []string{"unexplained: oom_score_adj of c"}},
		"formula":       {func(r *record.Record) { r.Scores[2].Formula = 0 }, []string{"unexplained: oom_score_adj of c"}},
		"class":         {func(r *record.Record) { r.Scores[2].QoSClass = "BestEffort" }, []string{"unexplained: qos class of c"}},
		"limit":         {func(r *record.Record) { r.Limits[0].Observed.Max = mem.LimitOf(mem.MiB) }, []string{"unexplained: limit of b memory.max"}},
		"no cgroup":     {func(r *record.Record) { r.Limits[0].Owner = owner("c") }, append(limitFiles("b"), limitFiles("c")...)},
		"setting":       {func(r *record.Record) { r.Node.Settings["singleProcessOOMKill"] = "true" }, []string{"unexplained: kubelet setting of singleProcessOOMKill"}},
		"finding":       {func(r *record.Record) { r.Findings = []record.Finding{{Name: "kill-missed-by-kmsg"}} }, []string{"unexplained: finding of kill-missed-by-kmsg"}},
		"condition":     {func(r *record.Record) { r.Conditions = []string{"MemoryPressure"} }, []string{"unexplained: condition of MemoryPressure"}},
		"claim":         {func(r *record.Record) { r.Claims[2].Verdict = record.Fail }, []string{"unexplained: claim of scores"}},
		"unfinished":    {func(r *record.Record) { r.Error = "no network" }, []string{"unexplained: run"}},
		"log format":    {func(r *record.Record) { r.Kills[0].Report.Columns = []string{"rss"} }, []string{"unexplained: kernel report of columns of the task table"}},
		"experiment":    {func(r *record.Record) { r.Scenario.Until.Kills = 3 }, []string{"unexplained: scenario"}},
		"title":         {func(r *record.Record) { r.Scenario.Title = "said otherwise" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 3} {
				got := lines(t, runs(times(n)...), runs(times(n, tt.edit)...))
				got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "unexplained: time of kill") }) // with three runs
				if !slices.Equal(got, tt.want) {
					t.Errorf("%d runs: %s", n, cmp.Diff(tt.want, got))
				}
			}
		})
	}
}

// swapVictims makes b die before a, as its own forecast says.
func swapVictims(r *record.Record) {
	r.Kills[0].Owner, r.Kills[1].Owner, r.Kills[2].Owner = owner("b"), owner("a"), owner("a")
	r.Kills[0].Freed, r.Kills[1].Freed = r.Kills[1].Freed, r.Kills[0].Freed
	r.Forecast.Steps[0].Victim, r.Forecast.Steps[1].Victim = 2, 1
}

func limitFiles(name string) []string {
	var all []string
	for _, file := range []string{"memory.high", "memory.low", "memory.max", "memory.min", "memory.oom.group", "memory.swap.max"} {
		all = append(all, "unexplained: limit of "+name+" "+file)
	}
	return all
}

func TestTimesAndSizes(t *testing.T) {
	late := func(by time.Duration) edit {
		return func(r *record.Record) { r.Kills[0].Time = r.Kills[0].Time.Add(by) }
	}
	const first = "unexplained: time of kill of a, since the one before"
	for name, tt := range map[string]struct {
		old, new []*record.Record
		want     string
	}{
		"two runs are too few":     {times(2), times(2, late(time.Second)), ""},
		"beyond noise":             {times(3), times(3, late(time.Second)), first},
		"faster":                   {times(3, late(time.Second)), times(3), first},
		"too little to matter":     {times(3), times(3, late(200*time.Millisecond)), ""},
		"a small share":            {times(3, late(10*time.Second)), times(3, late(11*time.Second)), ""},
		"sides overlap":            {append(times(3), made(late(2*time.Second))), times(4, late(time.Second)), ""},
		"gap smaller than spread":  {append(times(2), made(late(time.Second))), times(3, late(1900*time.Millisecond)), ""},
		"gap larger than a spread": {append(times(2), made(late(time.Second))), times(3, late(2100*time.Millisecond)), first},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := Compare(runs(tt.old...), runs(tt.new...))
			if err != nil {
				t.Fatal(err)
			}
			got := lines(t, runs(tt.old...), runs(tt.new...))
			if slices.Contains(got, first) != (tt.want != "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if few := len(report.Cells[0].NotCompared) > 0; few != (len(tt.old) < fewestRuns) {
				t.Errorf("not compared: %q", report.Cells[0].NotCompared)
			}
		})
	}
	big := func(r *record.Record) { r.Kills[0].Freed += 64 * mem.MiB }
	if got := lines(t, runs(times(3)...), runs(times(3, big)...)); !slices.Equal(got, []string{"unexplained: memory held of a"}) {
		t.Errorf("a larger victim: %q", got)
	}
	if got := lines(t, runs(times(3)...), runs(times(3, func(r *record.Record) { r.Kills[0].Freed += 4 * mem.MiB })...)); got != nil {
		t.Errorf("a victim as large as before: %q", got)
	}
}

// What too few runs show is named, where the runs themselves are enough.
func TestNotCompared(t *testing.T) {
	noRelease := func(r *record.Record) { r.Kills[0].Uncharged = nil }
	report, err := Compare(runs(times(3)...), runs(append(times(2), made(noRelease))...))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"time of memory of a given back: fewer than 3 runs of one side have it"}
	if diff := cmp.Diff(want, report.Cells[0].NotCompared); diff != "" {
		t.Errorf("not compared (-want +got):\n%s", diff)
	}
}

// A run has a finding or not; that it has it twice is nothing of its own.
func TestFindingsCountRuns(t *testing.T) {
	again := func(r *record.Record) {
		r.Findings = append(r.Findings, record.Finding{Name: "second-kill-before-release"})
	}
	if got := lines(t, runs(times(3, again, again)...), runs(times(3, again)...)); got != nil {
		t.Errorf("%q, want nothing", got)
	}
	report, err := Compare(runs(times(3, again, again)...), runs(times(3)...))
	if err != nil {
		t.Fatal(err)
	}
	want := Sample{Values: []Count{{"found", 3}}}
	if d := report.Cells[0].Differences; len(d) != 1 || !cmp.Equal(d[0].Old, want) {
		t.Errorf("differences %+v, want one with %+v", d, want)
	}
}

// A container that is killed needlessly once more is restarted once more, and
// waits longer for that. That says nothing of what is compared.
func TestNeedlessKillsAgain(t *testing.T) {
	again := func(needless bool) edit {
		return func(r *record.Record) {
			k := r.Kills[0]
			k.Order, k.Needless, k.Time = 4, needless, r.Kills[2].Time.Add(time.Second)
			r.Kills = append(r.Kills, k)
			c := &r.After[0].Containers[0]
			late := c.Since.Add(20 * time.Second)
			c.RestartCount, c.Since = 2, &late
		}
	}
	if got := lines(t, runs(times(3)...), runs(times(3, again(true))...)); got != nil {
		t.Errorf("killed needlessly: %q, want nothing", got)
	}
	want := []string{"unexplained: restarts of a", "unexplained: time of restart of a from restarts of a"}
	if got := lines(t, runs(times(3)...), runs(times(3, again(false))...)); !slices.Equal(got, want) {
		t.Errorf("killed for a reason: %q, want %q", got, want)
	}
}

// Repetition decides what is noise.
func TestRepetitionDecides(t *testing.T) {
	crash := func(r *record.Record) { r.After[0].Containers[0].Ended.ExitCode = 139 }
	mix := func(good, bad int) []Run { return runs(append(times(good), times(bad, crash)...)...) }
	const changed, noise = "unexplained: reported end of a", "noise: reported end of a"
	for _, tt := range []struct {
		old, new []Run
		want     []string
	}{
		{mix(1, 0), mix(0, 1), []string{changed}},
		{mix(10, 0), mix(9, 1), []string{noise}},
		{mix(10, 0), mix(4, 6), []string{noise}},
		{mix(10, 0), mix(3, 7), []string{changed}}, // p = 0.003
		{mix(5, 5), mix(2, 2), nil},                // as often on both sides
		{mix(1, 1), mix(0, 3), []string{noise}},
	} {
		if got := lines(t, tt.old, tt.new); !slices.Equal(got, tt.want) {
			t.Errorf("%d old and %d new runs: got %q, want %q", len(tt.old), len(tt.new), got, tt.want)
		}
	}
}

func TestFisher(t *testing.T) {
	for _, tt := range []struct {
		k, n, l, m int
		want       string
	}{
		{10, 10, 0, 10, "0.00001"}, {3, 3, 0, 3, "0.10000"}, {1, 1, 0, 1, "1.00000"}, {10, 10, 3, 10, "0.00310"}, {5, 10, 5, 10, "1.00000"},
	} {
		if got := fmt.Sprintf("%.5f", fisher(tt.k, tt.n, tt.l, tt.m)); got != tt.want {
			t.Errorf("%d of %d against %d of %d: p = %s, want %s", tt.k, tt.n, tt.l, tt.m, got, tt.want)
		}
	}
}

func TestWhatCannotBeCompared(t *testing.T) {
	other := made(func(r *record.Record) { r.Scenario.Metadata.Name = "other" })
	if _, err := Compare(runs(made()), runs(other)); !errors.Is(err, ErrNothing) {
		t.Errorf("two scenarios: %v", err)
	}
	upgraded := made(func(r *record.Record) { r.Host.Kernel = "7.2.0" })
	if _, err := Compare(runs(made(), upgraded), runs(made())); err == nil || !strings.Contains(err.Error(), "no repetitions of each other: kernel 6.18.44 and 7.2.0") {
		t.Errorf("two kernels on one side: %v", err)
	}
	report, err := Compare(runs(made(), other), runs(made()))
	if err != nil || report.Unexplained() != 1 || !slices.Equal(report.OnlyOld, []string{"other"}) {
		t.Errorf("a scenario that the new side lacks: %+v, %v", report, err)
	}
	report, err = Compare(runs(made()), runs(made(), other))
	if err != nil || report.Unexplained() != 0 || !slices.Equal(report.OnlyNew, []string{"other"}) {
		t.Errorf("a scenario that the old side lacks: %+v, %v", report, err)
	}
	report, err = Compare(runs(made(func(r *record.Record) { r.Limits = nil })), runs(made()))
	if err != nil || report.Unexplained() != 0 || !slices.Contains(report.Cells[0].NotCompared, "limit: one side's records have none") {
		t.Errorf("an old record without limits: %+v, %v", report, err)
	}
}

// How often a container was restarted is known when its last end was answered,
// and a run may be over before that.
func TestARunThatEndsBeforeARestartSaysNothingOfIt(t *testing.T) {
	waiting := func(r *record.Record) {
		c := &r.After[1].Containers[0]
		c.Running, c.RestartCount = false, 0
	}
	if got := lines(t, runs(made()), runs(made(waiting))); len(got) != 0 {
		t.Errorf("it was over before the restart: %q", got)
	}
	never := func(r *record.Record) { waiting(r); r.After[1].Phase = "Failed" }
	if got := lines(t, runs(made()), runs(made(never))); !slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "restarts of b") }) {
		t.Errorf("a container that is left is none of the differences: %q", got)
	}
}

// twins makes a and b two pods of one workload, of which that one died and was
// restarted.
func twins(died int) edit {
	return func(r *record.Record) {
		r.Kills, r.Forecast, r.Scores, r.Limits = nil, nil, nil, nil
		r.Scenario.Workloads = []scenarios.Workload{{Name: "twin", Replicas: 2}, {Name: "c"}}
		for i := range r.After[:2] {
			p := &r.After[i]
			p.Workload, p.Name = "twin", fmt.Sprintf("twin-%d", i+1)
			p.Containers[0].Name = "twin"
			if i != died {
				p.Containers[0].Ended, p.Containers[0].RestartCount = nil, 0
			}
		}
	}
}

// Which of several copies dies is chance. That one more does is none.
func TestCopiesAreAlike(t *testing.T) {
	if got := lines(t, runs(made(twins(0))), runs(made(twins(1)))); len(got) > 0 {
		t.Errorf("the other twin: %q", got)
	}
	both := func(r *record.Record) { twins(0)(r); r.After[1].Containers[0] = r.After[0].Containers[0] }
	want := []string{"unexplained: reported end of the pods of twin", "unexplained: restarts of the pods of twin from reported end of the pods of twin"}
	if diff := cmp.Diff(want, lines(t, runs(made(twins(0))), runs(made(both)))); diff != "" {
		t.Errorf("both twins (-want +got):\n%s", diff)
	}
	if got, want := counted([]string{"b", "a", "b"}), "1× a; 2× b"; got != want {
		t.Errorf("counted %q, want %q", got, want)
	}
	// A kill that was not needed takes any of them, and says nothing.
	needless := func(r *record.Record) {
		both(r)
		r.Scenario.Expect.Killed = nil
		r.Kills = []record.Kill{{Order: 1, Needless: true, Owner: record.Owner{Workload: "twin", Pod: "twin-2", Container: "twin"}}}
	}
	for _, line := range lines(t, runs(made(twins(0))), runs(made(needless))) {
		if strings.Contains(line, "the pods of twin") {
			t.Errorf("a twin killed needlessly: %q", line)
		}
	}
}
