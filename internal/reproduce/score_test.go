package reproduce

import (
	"slices"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// runOf makes the record of a run in which everything went as planned.
func runOf(t *testing.T, a *Attempt, lowestAdj int) *record.Record {
	t.Helper()
	o := options()
	f, err := forecast.Predict(a.Scenario, forecast.Options{Kernel: o.Kernel, Kubelet: o.Kubelet, LowestAdj: lowestAdj})
	if err != nil {
		t.Fatal(err)
	}
	step := f.Kernel.Steps[0]
	report := &oomreport.Report{
		Kernel: "6.18.44", Constraint: oomreport.ConstraintMemcg, Domain: step.Domain.Path,
		Trigger: &oomreport.Trigger{Name: "oomlab-stressor"},
		Memory:  &oomreport.Counter{Limit: mem.LimitOf(step.TotalPages.Pages.Bytes(4096)), Usage: step.TotalPages.Pages.Bytes(4096)},
		Columns: []string{"rss_anon"}, Victim: &oomreport.Victim{PID: step.Victim, Name: "oomlab-stressor"},
	}
	for _, c := range step.Candidates {
		row := oomreport.Task{PID: c.PID, TGID: c.PID, Name: "oomlab-stressor", OOMScoreAdj: c.OOMScoreAdj, PgtablesBytes: c.PageTables.Bytes(4096)}
		row.RSSBy = &oomreport.RSSBy{Anon: c.Anon, File: c.File, Shmem: c.Shmem}
		row.RSS = c.Anon + c.File + c.Shmem
		report.Tasks = append(report.Tasks, row)
	}
	for pid, owner := range f.Owners {
		if i := slices.IndexFunc(a.Roles, func(r Role) bool { return r.Trigger }); owner.Workload == a.Roles[i].Workload && owner.Container == a.Roles[i].Container {
			if report.Trigger.PID == 0 || pid < report.Trigger.PID {
				report.Trigger.PID = pid
			}
		}
	}
	return &record.Record{
		Snapshot: f.Snapshot, Owners: f.Owners, Forecast: f.Kernel, Scenario: a.Scenario,
		Kills: []record.Kill{{PID: step.Victim, Owner: f.Owners[step.Victim], OOMLevel: a.Scenario.Node.Domain, Report: report}},
	}
}

func failed(r Result) (names []string) {
	for _, p := range r.Points {
		if p.Same != nil && !*p.Same {
			names = append(names, p.Name)
		}
	}
	return names
}

// Each thing that is compared can differ, and then the outcome is another one.
func TestScore(t *testing.T) {
	pidOf := func(r *record.Record, workload string) int {
		for pid, o := range r.Owners {
			if o.Workload == workload {
				return pid
			}
		}
		t.Fatalf("no process of %s", workload)
		return 0
	}
	for name, tt := range map[string]struct {
		change  func(*record.Record)
		differs []string
		outcome Outcome
	}{
		"as planned": {func(*record.Record) {}, nil, Reproduced},
		"no kill":    {func(r *record.Record) { r.Kills = nil }, []string{"victim"}, Not},
		"no report":  {func(r *record.Record) { r.Kills[0].Report = nil }, []string{"victim"}, Not},
		"other dies": {func(r *record.Record) { r.Kills[0].PID = pidOf(r, "api-12") }, []string{"victim"}, Not},
		"rest dies":  {func(r *record.Record) { r.Kills[0].PID = pidOf(r, "rest") }, []string{"victim"}, Not},
		"constraint": {func(r *record.Record) {
			r.Kills[0].Report.Constraint = oomreport.ConstraintCpuset
			r.Kills[0].Report.Domain, r.Kills[0].Report.Memory = "", nil
		}, []string{"constraint"}, Partly},
		"domain":      {func(r *record.Record) { r.Kills[0].OOMLevel = qos.LevelNode }, []string{"domain"}, Partly},
		"trigger":     {func(r *record.Record) { r.Kills[0].Report.Trigger.PID = pidOf(r, "db-13") }, []string{"trigger"}, Partly},
		"thread":      {func(r *record.Record) { tr := r.Kills[0].Report.Trigger; tr.PID, tr.TGID = 7, tr.PID }, nil, Reproduced},
		"no forecast": {func(r *record.Record) { r.Forecast = nil }, []string{"margin"}, Partly},
		"order": {func(r *record.Record) {
			for i, task := range r.Kills[0].Report.Tasks {
				if r.Owners[task.PID].Workload == "db-13" {
					r.Kills[0].Report.Tasks[i].RSSBy.Anon += 300_000
				}
			}
		}, []string{"order"}, Partly},
		"score": {func(r *record.Record) {
			for i, task := range r.Kills[0].Report.Tasks {
				if r.Owners[task.PID].Workload == "db-13" {
					r.Kills[0].Report.Tasks[i].OOMScoreAdj = -996
				}
			}
		}, []string{"scores"}, Partly},
		"close call": {func(r *record.Record) {
			c := r.Forecast.Steps[0].Candidates
			for i := range c {
				if r.Owners[c[i].PID].Workload == "api-12" {
					c[i].Points = c[0].Points - r.Forecast.Steps[0].TotalPages.Pages/101
				}
			}
		}, []string{"margin"}, Partly},
		"group": {func(r *record.Record) {
			r.Kills[0].Report.GroupKill, r.Kills[0].Group = "/x", true
		}, []string{"group kill"}, Partly},
	} {
		a := mustMake(t, kubepods, options())
		r := runOf(t, a, -1000)
		tt.change(r)
		got := a.Score(r)
		// Without a table that can be ranked the order is open, not different.
		if got.Outcome != tt.outcome || !slices.Equal(failed(got), tt.differs) {
			t.Errorf("%s: %s, differs %v, want %s, %v: %+v", name, got.Outcome, failed(got), tt.outcome, tt.differs, got.Points)
		}
	}
}

// A group kill puts its processes into one container, and as many have to die.
func TestGroupKill(t *testing.T) {
	log := strings.Replace(kubepods, "Memory cgroup out of memory: Killed", "Tasks in "+podPath+" are going to be killed due to memory.oom.group set\nMemory cgroup out of memory: Killed", 1) +
		"Memory cgroup out of memory: Killed process 12 (api) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:900\n"
	a := mustMake(t, log, options())
	if batch, api := roleOf(t, a, "batch"), roleOf(t, a, "api"); a.GroupKill != 2 || batch.Workload != api.Workload || api.Index != 1 || a.Scenario.Node.Kubelet.SingleProcessOOMKill != nil {
		t.Fatalf("group of %d: %+v, %+v", a.GroupKill, batch, api)
	}
	r := runOf(t, a, -1000)
	r.Kills[0].Group, r.Kills[0].Report.GroupKill = true, "/x"
	second := r.Kills[0]
	for pid, i := range a.rolesOf(r.Snapshot.Tasks, r.Owners) {
		if a.Roles[i].Name == "api" {
			second.PID = pid
		}
	}
	alias := second
	alias.PID = 7 // a thread of it
	r.Kills = append(r.Kills, second, alias)
	if got := a.Score(r); len(failed(got)) != 1 || failed(got)[0] != "scores" { // one container has one score
		t.Errorf("both died: %s, %+v", got.Outcome, got.Points)
	}
	r.Kills = r.Kills[:1]
	if got := a.Score(r); !slices.Contains(failed(got), "group kill") {
		t.Errorf("one died: %s, %+v", got.Outcome, got.Points)
	}
}

// Where scores below 0 can't be given, and change nothing, the run says so.
func TestScoresThatTheMachineRefuses(t *testing.T) {
	o := options()
	o.LowestAdj, o.LowestAdjProof = 0, "as probed"
	a := mustMake(t, kubepods, o)
	got := a.Score(runOf(t, a, 0))
	if got.Outcome != Partly || !slices.Equal(failed(got), []string{"scores"}) {
		t.Errorf("%s: %+v", got.Outcome, got.Points)
	}
	if i := slices.IndexFunc(got.Points, func(p Point) bool { return p.Name == "scores" }); !strings.Contains(got.Points[i].Text, "as probed") {
		t.Errorf("no proof: %+v", got.Points[i])
	}
}

// Equal workers are one another's twins: any of them may die.
func TestTwins(t *testing.T) {
	a := mustMake(t, reportOf(podPath, podPath, 300, proc{"w", 80, 950}, proc{"w", 80, 950}, proc{"w", 80, 950}, proc{"p", 30, 950}), options())
	r := runOf(t, a, -1000)
	for pid, role := range a.rolesOf(r.Snapshot.Tasks, r.Owners) {
		if a.Roles[role].Twin {
			r.Kills[0].PID = pid
		}
	}
	if got := a.Score(r); got.Outcome != Reproduced {
		t.Errorf("a twin died: %s, %+v", got.Outcome, got.Points)
	}
	if a.Margin < 0.1 {
		t.Errorf("margin %g counts the twins", a.Margin)
	}
}

// A trigger that the table lacks is played by a process of its own.
func TestStandIn(t *testing.T) {
	for name, line := range map[string]string{"unknown": "", "elsewhere": "kworker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"} {
		_, rest, _ := strings.Cut(kubepods, "\nmemory: ")
		a := mustMake(t, line+"memory: "+rest, options())
		last := a.Roles[len(a.Roles)-1]
		if !last.StandIn || !last.Trigger {
			t.Fatalf("%s: %+v", name, last)
		}
		got := a.Score(runOf(t, a, -1000))
		i := slices.IndexFunc(got.Points, func(p Point) bool { return p.Name == "trigger" })
		if got.Outcome != Reproduced || i < 0 || got.Points[i].Same != nil {
			t.Errorf("%s: %s %+v", name, got.Outcome, got.Points)
		}
	}
}

// The processes of a container are told apart by their start, also where pids
// begin again.
func TestRolesAfterTheHighestPID(t *testing.T) {
	a := &Attempt{}
	owners := map[int]record.Owner{}
	for i := range 4 {
		a.Roles = append(a.Roles, Role{Workload: "app", Container: "app", Index: i})
	}
	tasks := []oom.Task{{PID: 12, Order: 70}, {PID: 32767, Order: 70}, {PID: 9, Order: 71}, {PID: 32760, Order: 69}}
	for _, task := range tasks {
		owners[task.PID] = record.Owner{Workload: "app", Container: "app", Level: qos.LevelContainer}
	}
	got := a.rolesOf(tasks, owners)
	for pid, want := range map[int]int{32760: 0, 32767: 1, 12: 2, 9: 3} {
		if got[pid] != want {
			t.Errorf("process %d plays role %d, want %d", pid, got[pid], want)
		}
	}
}
