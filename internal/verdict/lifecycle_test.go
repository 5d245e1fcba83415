package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// ended is a run in which the pod of a was killed and has ended as given.
func ended(phase string, t record.Termination) *record.Record {
	r := good()
	r.After[0].Phase = phase
	r.After[0].Containers[0] = record.Container{Name: "a", Ended: &t}
	return r
}

// Each of these claims passes in its own good run, and fails by one change.
func TestClaimsAboutEnds(t *testing.T) {
	seconds := func(s float64) *float64 { return &s }
	delays := []scenarios.Duration{{Duration: 0}, {Duration: 10 * time.Second}}
	type change func(*record.Record)
	notKilled := func(r *record.Record) { r.Kills = r.Kills[1:] }
	gone := func(r *record.Record) { r.After = r.After[1:] }
	for name, tt := range map[string]struct {
		good  func() *record.Record
		judge judge
		bad   map[string]change
	}{
		"completed": {
			func() *record.Record {
				r := ended("Succeeded", record.Termination{Reason: "OOMKilled", ExitCode: 0})
				r.Scenario.Expect.Completed = []string{"a"}
				return r
			}, completed, map[string]change{
				"runs":       func(r *record.Record) { r.After[0].Phase = "Running" },
				"not killed": notKilled, "gone": gone,
				"exit code 1": func(r *record.Record) { r.After[0].Containers[0].Ended.ExitCode = 1 },
				"second go":   func(r *record.Record) { r.After[0].Containers[0].RestartCount = 1 },
			},
		},
		"job failed": {
			func() *record.Record {
				r := ended("Failed", record.Termination{Reason: "OOMKilled", ExitCode: 137})
				r.Scenario.Expect.JobFailed = []string{"a"}
				r.Scenario.Workloads[0].Job = &scenarios.Job{BackoffLimit: 1}
				r.Jobs = []record.Job{{Workload: "a", Failed: true, FailedPods: 2, Reason: "BackoffLimitExceeded"}}
				return r
			}, jobFailed, map[string]change{
				"goes on":        func(r *record.Record) { r.Jobs[0].Failed = false },
				"no such job":    func(r *record.Record) { r.Jobs = nil },
				"one pod only":   func(r *record.Record) { r.Jobs[0].FailedPods = 1 },
				"one not killed": notKilled, "gone": gone,
			},
		},
		"never starts": {
			func() *record.Record {
				r := ended("Running", record.Termination{Reason: startError, ExitCode: 128})
				r.Scenario.Expect.NeverStarts = []string{"a"}
				return r
			}, neverStarts, map[string]change{
				"runs":       func(r *record.Record) { r.After[0].Containers[0].Running = true },
				"ran":        func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "OOMKilled" },
				"not killed": notKilled, "gone": gone,
			},
		},
		"never starts, nor does its sandbox": {
			func() *record.Record {
				r := ended("Pending", record.Termination{})
				c := &r.After[0].Containers[0]
				c.Ended, c.Waiting = nil, "ContainerCreating"
				r.Scenario.Expect.NeverStarts = []string{"a"}
				return r
			}, neverStarts, map[string]change{"not killed": notKilled},
		},
		"refused": {
			func() *record.Record {
				r := ended("Failed", record.Termination{})
				r.After[0].Reason, r.After[0].Message = "Evicted", "Pod was rejected: The node had condition: [MemoryPressure]. "
				r.Scenario.Expect.Refused = []string{"a"}
				return r
			}, refused, map[string]change{
				"evicted instead": func(r *record.Record) { r.After[0].Message = "The node was low on resource: memory." },
				"runs":            func(r *record.Record) { r.After[0].Reason = "" },
			},
		},
		"admitted": {
			func() *record.Record { r := good(); r.Scenario.Expect.Admitted = []string{"a"}; return r },
			admitted, map[string]change{"failed": func(r *record.Record) { r.After[0].Phase = "Failed" }, "gone": gone},
		},
		"resize refused": {
			func() *record.Record {
				r := good()
				r.Scenario.Expect.ResizeRefused = []string{"a"}
				r.After[0].Resize = "PodResizeInProgress: Error: below usage"
				return r
			}, resizeRefused, map[string]change{"done": func(r *record.Record) { r.After[0].Resize = "" }},
		},
		"back-off": {
			func() *record.Record {
				r := good()
				r.Kills[1].Owner = r.Kills[0].Owner
				r.Kills[0].RestartedAfterSeconds, r.Kills[1].RestartedAfterSeconds = seconds(1.2), seconds(9.4)
				r.Scenario.Expect.BackOff = &scenarios.BackOff{Workload: "a", Delays: delays}
				return r
			}, backOff, map[string]change{
				"too early":       func(r *record.Record) { r.Kills[1].RestartedAfterSeconds = seconds(8.9) },
				"too late":        func(r *record.Record) { r.Kills[1].RestartedAfterSeconds = seconds(30.1) },
				"one restart":     func(r *record.Record) { r.Kills[1].RestartedAfterSeconds = nil },
				"another's":       func(r *record.Record) { r.Kills[1].Owner.Workload = "b" },
				"not a container": func(r *record.Record) { r.Kills[1].Owner.Level = qos.LevelPod },
			},
		},
		"limit hit": {
			func() *record.Record {
				r := good()
				r.Scenario.Expect.LimitHit = []string{"a"}
				r.Reclaim = []record.Reclaim{{Owner: record.Owner{Workload: "a"}, LimitHits: 1}}
				return r
			}, limitHit, map[string]change{
				"never":    func(r *record.Record) { r.Reclaim[0].LimitHits = 0 },
				"not read": func(r *record.Record) { r.Reclaim = nil },
			},
		},
		"thrashes": {
			func() *record.Record {
				r := good()
				r.Scenario.Expect.Thrashes = []string{"a"}
				r.Reclaim = []record.Reclaim{{Owner: record.Owner{Workload: "a"}, RefaultedPages: thrashing}}
				return r
			}, thrashes, map[string]change{"a little": func(r *record.Record) { r.Reclaim[0].RefaultedPages-- }},
		},
		"findings": {
			func() *record.Record {
				r := good()
				r.Scenario.Expect.Findings = []string{"x"}
				r.Findings = []record.Finding{{Name: "y"}, {Name: "x", Text: "seen"}}
				return r
			}, named, map[string]change{"another": func(r *record.Record) { r.Findings = r.Findings[:1] }},
		},
	} {
		if c, made := tt.judge(tt.good()); !made || c.Verdict != record.Pass {
			t.Errorf("%s: good run: %v %s: %s", name, made, c.Verdict, c.Sentence)
		}
		if _, made := tt.judge(good()); made {
			t.Errorf("%s: judged, and nobody claims it", name)
		}
		for what, change := range tt.bad {
			r := tt.good()
			change(r)
			if c, _ := tt.judge(r); c.Verdict == record.Pass {
				t.Errorf("%s: %s: passed: %s", name, what, c.Sentence)
			}
		}
	}
}

func TestWithoutAKubelet(t *testing.T) {
	r := good()
	r.Node.NoKubelet = "none here"
	r.Scenario.Expect = scenarios.Expect{
		Completed: []string{"a"}, JobFailed: []string{"a"}, NeverStarts: []string{"a"}, Refused: []string{"a"},
		Admitted: []string{"a"}, ResizeRefused: []string{"a"}, BackOff: &scenarios.BackOff{Workload: "a"},
	}
	for _, judge := range []judge{completed, jobFailed, neverStarts, refused, admitted, resizeRefused, backOff} {
		if c, made := judge(r); !made || c.Verdict != record.Unsupported || c.Missing != "none here" {
			t.Errorf("%+v", c)
		}
	}
}

// Where the story tells a pod's containers apart, so do its claims.
func TestContainersOfAPod(t *testing.T) {
	run := func() *record.Record {
		r := good()
		r.Scenario.Expect = scenarios.Expect{Killed: []string{"a/one"}, Survive: []string{"a/two"}}
		r.Kills = r.Kills[:1]
		r.Kills[0].Owner.Container = "one"
		two := record.Container{Name: "two", Running: true}
		r.Before[0].Containers = []record.Container{{Name: "one", Running: true}, two}
		r.After[0].Containers = []record.Container{{Name: "one", Running: true, RestartCount: 1}, two}
		return r
	}
	for name, tt := range map[string]struct {
		change func(*record.Record)
		want   []record.Verdict // killed, survive
	}{
		"as told":         {func(*record.Record) {}, []record.Verdict{record.Pass, record.Pass}},
		"the other dies":  {func(r *record.Record) { r.Kills[0].Owner.Container = "two" }, []record.Verdict{record.Fail, record.Fail}},
		"the other ends":  {func(r *record.Record) { r.After[0].Containers[1].RestartCount = 1 }, []record.Verdict{record.Pass, record.Fail}},
		"nobody's cgroup": {func(r *record.Record) { r.Kills[0].Owner = record.Owner{Level: qos.LevelNode} }, []record.Verdict{record.Fail, record.Pass}},
	} {
		r := run()
		tt.change(r)
		k, _ := killed(r)
		s, _ := survive(r)
		if k.Verdict != tt.want[0] || s.Verdict != tt.want[1] {
			t.Errorf("%s: %s (%s), %s (%s)", name, k.Verdict, k.Sentence, s.Verdict, s.Sentence)
		}
	}
}

// An init container that was killed and has then ended well was restarted, and
// has survived nothing.
func TestRestartedInitContainer(t *testing.T) {
	r := good()
	r.Scenario.Expect = scenarios.Expect{Restarted: []string{"a"}}
	c := &r.After[0].Containers[0]
	*c = record.Container{
		Name: "a", Init: true, RestartCount: 1, Ended: &record.Termination{Reason: "Completed"},
		Previous: &record.Termination{Reason: "OOMKilled", ExitCode: 137},
	}
	if got, _ := restarted(r); got.Verdict != record.Pass {
		t.Errorf("%s: %s", got.Verdict, got.Sentence)
	}
	c.Previous.ExitCode = 1
	if got, _ := restarted(r); got.Verdict != record.Fail {
		t.Errorf("the time before was no kill: %s", got.Sentence)
	}
}

func TestUnmet(t *testing.T) {
	host := record.Host{Kernel: "6.1.0-18-cloud", CgroupVersion: 1}
	for _, tt := range []struct {
		needs scenarios.Needs
		swap  mem.Bytes
		want  string
	}{
		{scenarios.Needs{}, 0, ""},
		{scenarios.Needs{Cgroup: 1, Kernel: "6.1", Kubelet: "1.34"}, 0, ""},
		{scenarios.Needs{Cgroup: 2}, 0, "cgroup v2: the memory controller of this machine is v1"},
		{scenarios.Needs{}, mem.GiB, "1Gi of swap: SwapTotal of this machine is 0"},
		{scenarios.Needs{Kernel: "6.2"}, 0, "this is 6.1.0"},
		{scenarios.Needs{Kubelet: "1.35"}, 0, "kubelet 1.35: this is 1.34"},
	} {
		s := &scenarios.Scenario{Needs: tt.needs}
		s.Node.Swap.Bytes = tt.swap
		c, unmet := Unmet(s, host, 34)
		if unmet != (tt.want != "") || !strings.Contains(c.Missing, tt.want) || unmet && c.Verdict != record.Unsupported {
			t.Errorf("%+v: %v, %+v", tt.needs, unmet, c)
		}
	}
	if _, unmet := Unmet(&scenarios.Scenario{Needs: scenarios.Needs{Kubelet: "1.35"}}, host, 0); unmet {
		t.Error("a kubelet that is not known yet is too old")
	}
}

func TestIntendedKubeletRestart(t *testing.T) {
	r := good()
	r.Scenario.Meanwhile = []scenarios.Action{{RestartKubelet: true}}
	if c, _ := kubeletSurvives(r); c.Verdict != record.Fail {
		t.Errorf("not restarted: %s", c.Sentence)
	}
	r.DaemonsAfter.KubeletPID++
	if c, _ := kubeletSurvives(r); c.Verdict != record.Pass {
		t.Errorf("restarted: %s", c.Sentence)
	}
	r.DaemonsAfter.Ready = false
	if c, _ := kubeletSurvives(r); c.Verdict != record.Fail {
		t.Errorf("restarted, and not Ready: %s", c.Sentence)
	}
}
