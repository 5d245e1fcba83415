package verdict

import (
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// good is a run in which everything was as claimed: a dies, then b; c lives.
func good() *record.Record {
	kills := 2
	owner := func(name string) record.Owner {
		return record.Owner{Workload: name, Pod: name, Container: name, Level: qos.LevelContainer}
	}
	pod := func(name string, restarts int) record.Pod {
		p := record.Pod{Name: name, Workload: name, UID: "uid-" + name, Node: "n", Phase: "Running"}
		c := record.Container{Name: name, RestartCount: restarts, Running: true}
		if restarts > 0 {
			c.Ended = &record.Termination{Reason: "OOMKilled", ExitCode: 137}
		}
		p.Containers = []record.Container{c}
		return p
	}
	kill := func(order, pid int, name string, freed mem.Bytes) record.Kill {
		return record.Kill{
			Order: order, PID: pid, Name: "stressor", Owner: owner(name), Freed: freed, OOMLevel: qos.LevelKubepods,
			Sources: []string{"kmsg", "cgroup"}, Report: &oomreport.Report{},
		}
	}
	fresh := true
	daemons := record.Daemons{KubeletPID: 7, KubeletStarted: "1", Ready: true}
	after := daemons
	after.FreshPod = &fresh
	return &record.Record{
		Scenario: &scenarios.Scenario{
			Node:      scenarios.Node{Domain: qos.LevelKubepods},
			Workloads: []scenarios.Workload{{Name: "a"}, {Name: "b"}, {Name: "c"}},
			Expect: scenarios.Expect{
				Killed: []string{"a", "b"}, Survive: []string{"c"}, Kills: &kills, FewestKills: true,
				Restarted: []string{"a", "b"}, OOMCgroup: qos.LevelKubepods, TaskCgroup: qos.LevelContainer, HighestOOMScore: "c",
			},
		},
		Host:   record.Host{LowestAdj: 0, LowestAdjProof: "CAP_SYS_RESOURCE is not there"},
		Scores: []record.Score{{Owner: owner("a"), When: "settled", Formula: 1000, Observed: 1000, OOMScore: 1340, OOMModel: 1341}, {Owner: owner("a"), When: "restarted", Formula: 1000, Observed: 1000, OOMScore: 1334, OOMModel: 1334}, {Owner: owner("b"), When: "restarted", Formula: 900, Observed: 900, OOMScore: 1300, OOMModel: 1300}, {Owner: owner("c"), When: "settled", Formula: 3, Observed: 3, OOMScore: 1400, OOMModel: 1400}},
		Snapshot: oom.Snapshot{Kernel: oom.Kernel{PageSize: 4096}, Tasks: []oom.Task{
			{PID: 1, Anon: 1000}, {PID: 2, Anon: 500}, {PID: 3, Anon: 10},
		}},
		Owners: map[int]record.Owner{1: owner("a"), 2: owner("b"), 3: owner("c")},
		Forecast: &oom.Sequence{Steps: []oom.Step{
			{Prediction: oom.Prediction{Outcome: oom.OutcomeVictim, Victim: 1}},
			{Prediction: oom.Prediction{Outcome: oom.OutcomeVictim, Victim: 2}},
		}},
		Kills:         []record.Kill{kill(1, 1, "a", 1000*4096), kill(2, 2, "b", 500*4096)},
		Sources:       []record.Source{{Name: "kmsg"}, {Name: "cgroup"}},
		Before:        []record.Pod{pod("a", 0), pod("b", 0), pod("c", 0)},
		After:         []record.Pod{pod("a", 1), pod("b", 1), pod("c", 0)},
		DaemonsBefore: daemons, DaemonsAfter: after,
	}
}

func TestGoodRunPasses(t *testing.T) {
	claims, v := Judge(good())
	for _, c := range claims {
		if c.Verdict != record.Pass {
			t.Errorf("%s: %s: %s", c.Name, c.Verdict, c.Sentence)
		}
	}
	if v != record.Pass || len(claims) != 13 {
		t.Errorf("verdict %s of %d claims, want pass of 13", v, len(claims))
	}
}

// group adds a kill of c, as one of a group that is chosen by a decision.
func group(r *record.Record, decision int) {
	r.Kills[1].Group, r.Kills[1].Decision = true, 2
	r.Kills = append(r.Kills, record.Kill{Owner: r.Owners[3], Group: true, Decision: decision})
}

// Every claim can fail: what is changed in the good run turns just that one.
func TestEachClaimCanFail(t *testing.T) {
	notFresh := false
	three := 3
	for name, tt := range map[string]struct {
		change func(*record.Record)
		claim  string
		want   record.Verdict
	}{
		"other victim than forecast":  {func(r *record.Record) { r.Forecast.Steps[0].Victim = 3 }, Forecast, record.Fail},
		"rival of a tie":              {func(r *record.Record) { s := &r.Forecast.Steps[0]; s.Victim, s.Rivals = 3, []int{1} }, Forecast, record.Pass},
		"needless kill in between":    {func(r *record.Record) { r.Kills = append(r.Kills[:1:1], record.Kill{Needless: true}, r.Kills[1]) }, Forecast, record.Pass},
		"needed kill in between":      {func(r *record.Record) { r.Kills = append(r.Kills[:1:1], record.Kill{}, r.Kills[1]) }, Forecast, record.Fail},
		"needless, but the next step": {func(r *record.Record) { r.Kills[1].Needless = true }, Forecast, record.Pass},
		"needless, and in the order":  {func(r *record.Record) { r.Kills[1].Needless = true }, Killed, record.Pass},
		"one kill more than forecast": {func(r *record.Record) { r.Kills = append(r.Kills, record.Kill{Owner: r.Owners[3]}) }, Forecast, record.Fail},
		"a victim dies once more":     {func(r *record.Record) { r.Kills = append(r.Kills, record.Kill{Owner: r.Owners[1]}) }, Forecast, record.Pass},
		"its runtime's helper dies": {func(r *record.Record) {
			o := r.Owners[1]
			o.Container = ""
			r.Kills = append(r.Kills, record.Kill{Owner: o})
		}, Forecast, record.Pass},
		"evicted before anybody is killed": {func(r *record.Record) {
			r.Scenario.Until.Evictions, r.Kills, r.After[0].Reason = 1, nil, "Evicted"
		}, Forecast, record.Pass},
		"neither killed nor evicted": {func(r *record.Record) {
			r.Scenario.Until.Evictions, r.Kills = 1, nil
		}, Forecast, record.Fail},
		"another pod of it dies": {func(r *record.Record) {
			o := r.Owners[1]
			o.Pod = "a-2"
			r.Kills = append(r.Kills, record.Kill{Owner: o})
		}, Forecast, record.Fail},
		"its Job's next pod dies": {func(r *record.Record) {
			o := r.Owners[1]
			o.Pod = "a-2"
			r.Scenario.Workloads[0].Job = &scenarios.Job{}
			r.Kills = append(r.Kills, record.Kill{Owner: o})
		}, Forecast, record.Pass},
		"another container of it dies": {func(r *record.Record) {
			o := r.Owners[1]
			o.Container = "b"
			r.Kills = append(r.Kills, record.Kill{Owner: o})
		}, Forecast, record.Fail},
		"a needless kill at the end":  {func(r *record.Record) { r.Kills = append(r.Kills, record.Kill{Owner: r.Owners[3], Needless: true}) }, Forecast, record.Pass},
		"more of the same group":      {func(r *record.Record) { group(r, 2) }, Forecast, record.Pass},
		"more of another group":       {func(r *record.Record) { group(r, 3) }, Forecast, record.Fail},
		"fewer kills than waited for": {func(r *record.Record) { r.Scenario.Until.Kills = 3 }, Forecast, record.Fail},
		"fewer kills than forecast":   {func(r *record.Record) { r.Kills = r.Kills[:1] }, Forecast, record.Fail},
		"inverted order":              {func(r *record.Record) { r.Scenario.Expect.Killed = []string{"b", "a"} }, Killed, record.Fail},
		"needless third kill":         {func(r *record.Record) { r.Kills = append(r.Kills, record.Kill{Needless: true}) }, Killed, record.Pass},
		"needed third kill":           {func(r *record.Record) { r.Kills = append(r.Kills, record.Kill{}) }, Killed, record.Fail},
		"needless kill of a survivor": {func(r *record.Record) { r.Kills[1].Needless, r.Kills[1].Owner.Workload = true, "c" }, Survive, record.Pass},
		"survivor killed twice": {func(r *record.Record) {
			r.Kills[0].Owner, r.Kills[1].Owner, r.Kills[1].Needless = r.Owners[3], r.Owners[3], true
		}, Survive, record.Fail},
		"no kill at all":               {func(r *record.Record) { r.Kills = nil }, Killed, record.Fail},
		"one victim too many":          {func(r *record.Record) { r.Scenario.Expect.Killed = []string{"a"} }, Killed, record.Fail},
		"survivor killed":              {func(r *record.Record) { r.Kills[1].Owner.Workload = "c" }, Survive, record.Fail},
		"survivor restarted":           {func(r *record.Record) { r.After[2].Containers[0].RestartCount = 1 }, Survive, record.Fail},
		"survivor stopped":             {func(r *record.Record) { r.After[2].Containers[0].Running = false }, Survive, record.Fail},
		"survivor replaced":            {func(r *record.Record) { r.After[2].UID = "other" }, Survive, record.Fail},
		"wrong count":                  {func(r *record.Record) { r.Scenario.Expect.Kills = &three }, Kills, record.Fail},
		"larger one spared":            {func(r *record.Record) { r.Snapshot.Tasks[2].Anon = 1001 }, FewestKills, record.Fail},
		"wrong oom_memcg":              {func(r *record.Record) { r.Kills[0].OOMLevel = qos.LevelPod }, OOMCgroup, record.Fail},
		"wrong task_memcg":             {func(r *record.Record) { r.Scenario.Expect.TaskCgroup = qos.LevelPod }, OOMCgroup, record.Fail},
		"report withheld":              {func(r *record.Record) { r.Kills[1].Report = nil }, OOMCgroup, record.Inconclusive},
		"score not by formula":         {func(r *record.Record) { r.Scores[0].Observed = 999 }, Scores, record.Fail},
		"score explained by a probe":   {func(r *record.Record) { s := &r.Scores[0]; s.Formula, s.Observed, s.Explained = -997, 0, "probed" }, Scores, record.Unsupported},
		"not read after the restart":   {func(r *record.Record) { r.Scores[1].When = "settled" }, Scores, record.Inconclusive},
		"score differs inside the pod": {func(r *record.Record) { r.Scores[0].InPod = new(int) }, Scores, record.Fail},
		"oom_score off by two":         {func(r *record.Record) { r.Scores[0].OOMScore = 1339 }, OOMScore, record.Fail},
		"highest oom_score dies":       {func(r *record.Record) { r.Scores[0].OOMScore, r.Scores[0].OOMModel = 1500, 1500 }, HighestOOMScore, record.Fail},
		"not restarted":                {func(r *record.Record) { r.After[0].Containers[0].RestartCount = 0 }, Restarted, record.Fail},
		"replaced instead":             {func(r *record.Record) { r.After[0].UID = "other" }, Restarted, record.Fail},
		"moved":                        {func(r *record.Record) { r.After[0].Node = "m" }, Restarted, record.Fail},
		"reason Error, but a kill":     {func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Error" }, Restarted, record.Pass},
		"reason Error, kernel silent":  {func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Error"; r.Kills[0].Sources = nil }, Restarted, record.Fail},
		"reason Completed":             {func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Completed" }, Restarted, record.Fail},
		"killed at its start":          {func(r *record.Record) { startKilled(r).Needless = true }, Restarted, record.Pass},
		"killed at its start, rightly": {func(r *record.Record) { startKilled(r) }, Restarted, record.Fail},
		"not started, nobody killed":   {func(r *record.Record) { startKilled(r); r.Kills = r.Kills[:2] }, Restarted, record.Fail},
		"exit code 1":                  {func(r *record.Record) { r.After[0].Containers[0].Ended.ExitCode = 1 }, Restarted, record.Fail},
		"OOMKilled without a kill":     {func(r *record.Record) { r.Kills = r.Kills[:1] }, Restarted, record.Fail},
		"no kubelet":                   {func(r *record.Record) { r.Node.NoKubelet = "none" }, Restarted, record.Unsupported},
		"victim is no workload's":      {func(r *record.Record) { r.Kills[0].Owner = record.Owner{Level: qos.LevelNode} }, Contained, record.Fail},
		"wider domain ran out":         {func(r *record.Record) { r.Kills[0].OOMLevel = qos.LevelNode }, Contained, record.Fail},
		"outside of the node":          {func(r *record.Record) { r.Kills[0].OOMLevel = record.Outside }, Contained, record.Fail},
		"kubelet restarted":            {func(r *record.Record) { r.DaemonsAfter.KubeletPID = 8 }, KubeletSurvives, record.Fail},
		"systemd restarted it":         {func(r *record.Record) { r.DaemonsAfter.KubeletRestarts = 1 }, KubeletSurvives, record.Fail},
		"node not ready":               {func(r *record.Record) { r.DaemonsAfter.Ready = false }, KubeletSurvives, record.Fail},
		"system pod restarted":         {func(r *record.Record) { r.DaemonsAfter.OtherRestarts = 1 }, KubeletSurvives, record.Fail},
		"no fresh pod":                 {func(r *record.Record) { r.DaemonsAfter.FreshPod = &notFresh }, KubeletSurvives, record.Fail},
		"kernel log not read":          {func(r *record.Record) { r.Sources[0].Error = "permission denied" }, Evidence, record.Unsupported},
		"report not read":              {func(r *record.Record) { r.Sources[0].Error = "permission denied" }, OOMCgroup, record.Unsupported},
		"kernel log lost records":      {func(r *record.Record) { r.Sources[0].Lost = 3 }, Evidence, record.Inconclusive},
		"kill missed by kmsg":          {func(r *record.Record) { r.Findings = []record.Finding{{Name: "kill-missed-by-kmsg"}} }, Evidence, record.Fail},
	} {
		r := good()
		tt.change(r)
		claims, _ := Judge(r)
		found := false
		for _, c := range claims {
			if c.Name == tt.claim {
				found = true
				if (c.Verdict == record.Unsupported) != (c.Missing != "") {
					t.Errorf("%s: %s is %s, and what is missing is %q", name, c.Name, c.Verdict, c.Missing)
				}
				if c.Verdict != tt.want {
					t.Errorf("%s: %s is %s (%s), want %s", name, c.Name, c.Verdict, c.Sentence, tt.want)
				}
			}
		}
		if !found {
			t.Errorf("%s: no claim %s", name, tt.claim)
		}
	}
}

// startKilled makes the first victim one that was killed a second time while it
// was being started again, and returns that kill.
func startKilled(r *record.Record) *record.Kill {
	ended := r.After[0].Containers[0].Ended
	ended.Reason, ended.ExitCode = startError, 128
	k := r.Kills[0]
	k.Order, k.Decision = 3, 3
	r.Kills = append(r.Kills, k)
	return &r.Kills[2]
}

func TestEvicted(t *testing.T) {
	evict := func(change func(*record.Record)) record.Claim {
		r := good()
		r.Kills, r.Forecast = nil, nil
		r.Conditions = []string{"Ready", "MemoryPressure"}
		r.Scenario.Expect = scenarios.Expect{Evicted: []string{"a"}}
		r.After[0].Phase, r.After[0].Reason = "Failed", "Evicted"
		change(r)
		c, _ := evicted(r)
		return c
	}
	if c := evict(func(*record.Record) {}); c.Verdict != record.Pass {
		t.Errorf("good eviction: %s: %s", c.Verdict, c.Sentence)
	}
	if c := evict(func(r *record.Record) {
		r.After[0].Phase, r.After[0].Reason = "Succeeded", ""
		r.After[0].Terminated = "The node was low on resource: memory."
	}); c.Verdict != record.Pass {
		t.Errorf("evicted, and answered with exit code 0: %s: %s", c.Verdict, c.Sentence)
	}
	for name, change := range map[string]func(*record.Record){
		"nobody evicted":    func(r *record.Record) { r.After[0].Reason = "" },
		"wrong pod":         func(r *record.Record) { r.After[0].Reason, r.After[1].Reason = "", "Evicted" },
		"one more":          func(r *record.Record) { r.After[1].Reason = "Evicted" },
		"kernel was faster": func(r *record.Record) { r.Kills = good().Kills },
		"no condition":      func(r *record.Record) { r.Conditions = nil },
	} {
		if c := evict(change); c.Verdict != record.Fail {
			t.Errorf("%s: %s: %s", name, c.Verdict, c.Sentence)
		}
	}
}

func TestFailed(t *testing.T) {
	check := func(change func(*record.Record)) record.Claim {
		r := good()
		r.Scenario.Expect = scenarios.Expect{Failed: []string{"a"}}
		r.After[0].Phase = "Failed"
		r.After[0].Containers[0].RestartCount, r.After[0].Containers[0].Running = 0, false
		change(r)
		c, _ := failed(r)
		return c
	}
	if c := check(func(*record.Record) {}); c.Verdict != record.Pass {
		t.Errorf("good end: %s: %s", c.Verdict, c.Sentence)
	}
	for name, change := range map[string]func(*record.Record){
		"runs":      func(r *record.Record) { r.After[0].Phase = "Running" },
		"evicted":   func(r *record.Record) { r.After[0].Reason = "Evicted" },
		"restarted": func(r *record.Record) { r.After[0].Containers[0].RestartCount = 1 },
		"error":     func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Error"; r.Kills = nil },
		"completed": func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Completed" },
		"gone":      func(r *record.Record) { r.After[0].UID = "other" },
	} {
		if c := check(change); c.Verdict != record.Fail {
			t.Errorf("%s: %s: %s", name, c.Verdict, c.Sentence)
		}
	}
}
