package selfcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
)

// report is one that Linux 6.18 wrote in a check of cgroup v1 on 2 CPUs.
func report() *oomreport.Report {
	row := func(pid int, anon, file mem.Pages, tables mem.Bytes, adj int) oomreport.Task {
		return oomreport.Task{
			PID: pid, TGID: pid, RSS: anon + file, RSSBy: &oomreport.RSSBy{Anon: anon, File: file},
			PgtablesBytes: tables, OOMScoreAdj: adj, Name: "oomlab-stressor",
		}
	}
	limit := mem.LimitOf(55848960)
	return &oomreport.Report{
		Domain: "/a", Columns: []string{"rss"},
		Memory: &oomreport.Counter{Usage: 55848960, Limit: limit}, MemSw: &oomreport.Counter{Usage: 55848960, Limit: limit},
		Tasks:  []oomreport.Task{row(39, 5344, 281, 131072, 0), row(40, 5923, 281, 131072, 271), row(41, 2208, 281, 106496, 595)},
		Victim: &oomreport.Victim{PID: 41},
	}
}

func before() oom.Snapshot {
	kernel := oom.Kernel{
		Version: oom.Version{Major: 6, Minor: 18}, PageSize: 4096, RAM: (24 * mem.GiB).Pages(4096), CPUs: 2, CgroupVersion: 1,
	}
	return oom.Snapshot{Kernel: kernel, Cgroups: []oom.Cgroup{{Path: "/a", Swappiness: 60}}}
}

func TestFromReport(t *testing.T) {
	s, domain, err := fromReport(report(), before())
	if err != nil {
		t.Fatal(err)
	}
	p, err := oom.Predict(s, domain, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p.Victim != 41 || p.Outcome != oom.OutcomeVictim || p.TotalPages.Pages != 13635 {
		t.Errorf("%s of %d, %d pages; want the victim 41 of 13635", p.Outcome, p.Victim, p.TotalPages.Pages)
	}
	// By the kernel's arithmetic: 2489 + 26 pages + 595 * 13.
	if got := p.Candidates[0].Points; got != 2489+26+595*13 {
		t.Errorf("points %d", got)
	}
	old := report()
	for i := range old.Tasks {
		old.Tasks[i].RSSBy = nil
	}
	s, _, err = fromReport(old, before())
	if err != nil || s.Tasks[0].UnsplitRSS != 5625 || s.Tasks[0].RSS() != 5625 {
		t.Errorf("a kernel before 6.8: %v, %+v", err, s.Tasks[0])
	}
	if s.Cgroups[0].Swappiness != 60 {
		t.Error("swappiness is the one read before")
	}
}

func TestFromReportRefuses(t *testing.T) {
	for name, change := range map[string]func(*oomreport.Report){
		"no tasks":  func(r *oomreport.Report) { r.Tasks = nil },
		"no limit":  func(r *oomreport.Report) { r.Memory = nil },
		"no domain": func(r *oomreport.Report) { r.Domain = "" },
	} {
		r := report()
		change(r)
		if _, _, err := fromReport(r, before()); !errors.Is(err, errNoTable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := fromReport(nil, before()); !errors.Is(err, errNoTable) {
		t.Errorf("no report: %v", err)
	}
	r := report()
	r.LostRecords = 1
	if _, _, err := fromReport(r, before()); err == nil || errors.Is(err, errNoTable) {
		t.Errorf("lost records: %v", err)
	}
}

// played is an experiment in which the model named 41 and the kernel killed
// the given pids.
func played(outcome oom.Outcome, rivals []int, killed ...int) Played {
	p := Played{Snapshot: before(), Traced: true}
	p.Forecast.Prediction = oom.Prediction{Domain: oom.Memcg("/a"), Outcome: outcome, Victim: 41, Rivals: rivals, Kills: []int{41}}
	for i, pid := range killed {
		p.Marked = append(p.Marked, pid)
		p.Kills = append(p.Kills, Kill{PID: pid, Order: i, Uptime: time.Duration(i) * time.Millisecond})
	}
	return p
}

func TestJudge(t *testing.T) {
	withReport := played(oom.OutcomeVictim, nil, 41)
	withReport.Kills[0].Report = report()
	elsewhere := played(oom.OutcomeVictim, nil, 41)
	elsewhere.Kills[0].Report = &oomreport.Report{Domain: "/b"}
	near := played(oom.OutcomeVictim, nil, 41)
	near.Kills[0].Report, near.DomainInDoubt = &oomreport.Report{Domain: "/b"}, true
	wrongTable := played(oom.OutcomeVictim, nil, 41)
	wrongTable.Kills[0].Report = report()
	wrongTable.Kills[0].Report.Tasks[1].OOMScoreAdj = 900
	group := played(oom.OutcomeVictim, nil, 41, 40)
	group.Forecast.Kills = []int{41, 40}
	spared := played(oom.OutcomeVictim, nil, 41)
	spared.Forecast.Kills = []int{41, 40}
	unmarked := played(oom.OutcomeVictim, nil, 41)
	unmarked.Marked = nil
	untraced := unmarked
	untraced.Traced = false

	for name, tt := range map[string]struct {
		played Played
		want   Judgement
	}{
		"the one named":        {played(oom.OutcomeVictim, nil, 41), Judgement{Forecast: Agrees, Replay: NotJudged, ForecastNamed: true}},
		"another one":          {played(oom.OutcomeVictim, nil, 40), Judgement{Forecast: Disagrees, Replay: NotJudged}},
		"nobody":               {played(oom.OutcomeVictim, nil), Judgement{Forecast: NotJudged, Replay: NotJudged}},
		"a rival in a tie":     {played(oom.OutcomeTie, []int{40}, 40), Judgement{Forecast: Tie, Replay: NotJudged}},
		"the first in a tie":   {played(oom.OutcomeTie, []int{40}, 41), Judgement{Forecast: Tie, Replay: NotJudged, ForecastNamed: true}},
		"no rival in a tie":    {played(oom.OutcomeTie, []int{40}, 39), Judgement{Forecast: Disagrees, Replay: NotJudged}},
		"a rival in doubt":     {played(oom.OutcomeUndetermined, []int{40}, 40), Judgement{Forecast: Undetermined, Replay: NotJudged}},
		"a needless kill":      {played(oom.OutcomeVictim, nil, 41, 40), Judgement{Forecast: Agrees, Replay: NotJudged, ForecastNamed: true, Needless: []Needless{{40, NoTable}}}},
		"wrong, and needless":  {played(oom.OutcomeVictim, nil, 40, 41), Judgement{Forecast: Disagrees, Replay: NotJudged}},
		"a table that agrees":  {withReport, Judgement{Forecast: Agrees, Replay: Agrees, ForecastNamed: true, ReplayNamed: true}},
		"a table that doesn't": {wrongTable, Judgement{Forecast: Agrees, Replay: Disagrees, ForecastNamed: true}},
		"another domain":       {elsewhere, Judgement{Forecast: Disagrees, Replay: NotJudged, ForecastNamed: true}},
		"limits are close":     {near, Judgement{Forecast: Undetermined, Replay: NotJudged, ForecastNamed: true}},
		"a group":              {group, Judgement{Forecast: Agrees, Replay: NotJudged, ForecastNamed: true}},
		"no mark in the trace": {unmarked, Judgement{Forecast: Agrees, Replay: NotJudged, ForecastNamed: true, SourcesDiffer: true}},
		"no trace at all":      {untraced, Judgement{Forecast: Agrees, Replay: NotJudged, ForecastNamed: true}},
		"a group half alive":   {spared, Judgement{Forecast: Disagrees, Replay: NotJudged, ForecastNamed: true}},
	} {
		got := tt.played.judge()
		got.Notes = nil
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLimitsAreClose(t *testing.T) {
	for room, want := range map[mem.Pages]bool{1000: true, 1128: true, 1129: false} {
		p := Played{Grower: 7, Snapshot: oom.Snapshot{
			Kernel: oom.Kernel{PageSize: 4096},
			Tasks:  []oom.Task{{PID: 7, Cgroup: "/a/b"}},
			Cgroups: []oom.Cgroup{
				{Path: "/a", Limit: mem.LimitOf(mem.Pages(1000).Bytes(4096))},
				{Path: "/a/b", Limit: mem.LimitOf(room.Bytes(4096))},
				{Path: "/a/c", Limit: mem.LimitOf(1)}, // not above the grower
			},
		}}
		p.Forecast.Growth = 1000
		if got := p.limitsAreClose(); got != want {
			t.Errorf("1000 pages of room, and %d: %v", room, got)
		}
	}
}

func TestNeedless(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*oomreport.Report)
		want   Cause
	}{
		"first victim in the table": {func(*oomreport.Report) {}, Unknown},
		"gone from it":              {func(r *oomreport.Report) { r.Tasks = r.Tasks[:2] }, Invisible},
		"no table":                  {func(r *oomreport.Report) { r.Tasks = nil }, NoTable},
	} {
		p := played(oom.OutcomeVictim, nil, 41, 40)
		p.Kills[1].Report = report()
		tt.change(p.Kills[1].Report)
		if cause, text := p.needless(p.Kills[1]); cause != tt.want || !strings.HasPrefix(text, "process 40 was killed 1 ms after 41") {
			t.Errorf("%s: %s: %s", name, cause, text)
		}
	}
}

func TestReportAdds(t *testing.T) {
	var r Report
	for _, p := range []Played{
		played(oom.OutcomeVictim, nil, 41), played(oom.OutcomeVictim, nil, 40), played(oom.OutcomeVictim, nil),
		played(oom.OutcomeTie, []int{40}, 40), played(oom.OutcomeUndetermined, []int{40}, 41), played(oom.OutcomeVictim, nil, 41, 40),
	} {
		r.add(p, p.judge())
	}
	want := Report{
		Experiments: 6, Needless: map[Cause]int{NoTable: 1}, NoKill: 1,
		Forecast: Tally{Agree: 2, Disagree: 1, Tie: 1, Undetermined: 1, UndeterminedNamed: 1},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Forecast.Judged() != 5 {
		t.Errorf("judged %d", r.Forecast.Judged())
	}
}

func TestReadFinding(t *testing.T) {
	f := Finding{Schema: Schema, Kind: "needless-kill", Played: played(oom.OutcomeVictim, nil, 41, 40)}
	f.Experiment = Draw(1, 1, false, 0)
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadFinding(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.Experiment.Processes, got.Experiment.Processes); diff != "" || got.Kind != f.Kind {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	for _, wrong := range []string{"", "{}", strings.Replace(string(data), `"grower":`, `"grower":9`, 1)} {
		if _, err := ReadFinding(strings.NewReader(wrong)); err == nil {
			t.Errorf("read %.40q without an error", wrong)
		}
	}
}

func TestWatch(t *testing.T) {
	w := &watch{kills: map[int]*Kill{}, changed: make(chan struct{})}
	w.expect(41)
	w.expect(40)
	r := report()
	w.note(r, &oomreport.Kill{PID: 99})
	w.note(r, &oomreport.Kill{PID: 41})
	w.note(r, &oomreport.Kill{PID: 40})
	first, err := w.of(t.Context(), 41)
	if err != nil || first.Order != 1 || first.Report == nil {
		t.Errorf("the first kill: %+v, %v", first, err)
	}
	second, err := w.of(t.Context(), 40)
	if err != nil || second.Order != 2 || second.Report != nil {
		t.Errorf("the second has no report of its own: %+v, %v", second, err)
	}
	if slices.Contains([]int{first.PID, second.PID}, 99) {
		t.Error("process 99 is none of ours")
	}
	w.forget(41)
	w.expect(41)
	go w.note(r, &oomreport.Kill{PID: 41})
	if again, err := w.of(t.Context(), 41); err != nil || again.Order != 3 {
		t.Errorf("a process with a pid that was used before: %+v, %v", again, err)
	}
}
