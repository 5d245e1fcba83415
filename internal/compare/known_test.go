package compare

import (
	"slices"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// do makes several edits one.
func do(edits ...edit) edit {
	return func(r *record.Record) {
		for _, e := range edits {
			e(r)
		}
	}
}

func kernel(release string) edit { return func(r *record.Record) { r.Host.Kernel = release } }
func onV1(r *record.Record)      { r.Host.CgroupVersion = 1 }
func lowest(adj int) edit        { return func(r *record.Record) { r.Host.LowestAdj = adj } }
func program(name, version string) edit {
	return func(r *record.Record) { r.Node.Versions[name] = version }
}
func setting(name, value string) edit {
	return func(r *record.Record) { r.Node.Settings[name] = value }
}

// limit gives b's container a limit, by formula too.
func limit(set func(*qos.Limits)) edit {
	return func(r *record.Record) { set(&r.Limits[0].Observed); set(&r.Limits[0].Formula) }
}

func notByFormula(r *record.Record) { r.Limits[0].Formula = qos.Limits{} }

func undetermined(r *record.Record) { r.Forecast.Steps[0].Outcome = oom.OutcomeUndetermined }

func victimsProtected(r *record.Record) {
	for i := range r.Scores {
		r.Scores[i].Formula, r.Scores[i].Observed = -997, -997
	}
}

func single(r *record.Record) {
	yes := true
	r.Scenario.Node.Kubelet.SingleProcessOOMKill = &yes
	r.Kills = r.Kills[:2]
	r.Kills[1].Group = false
}

func evicted(r *record.Record) {
	r.After[2].Reason, r.After[2].Phase = "Evicted", "Failed"
	r.After[2].Containers[0].Ended = &record.Termination{Reason: "Error", ExitCode: 137, Finished: r.Started}
	r.Conditions = []string{"MemoryPressure"}
}

func losesLine(r *record.Record) { r.Scenario.Control = &scenarios.Control{LoseKernelLog: true} }

func errorReason(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Error" }

func asks(threshold string) edit {
	return func(r *record.Record) {
		r.Scenario.Node.Kubelet.EvictionHard = map[string]string{"memory.available": threshold}
		r.Node.Settings["evictionHard.memory.available"] = threshold
	}
}

func backOff(max string) edit {
	return func(r *record.Record) {
		r.Scenario.Node.Kubelet.CrashLoopBackOff = new(scenarios.CrashLoopBackOff)
		r.Node.Settings["crashLoopBackOff.maxContainerRestartPeriod"] = max
	}
}

// knownCases have for each known change a pair of runs that it explains, and
// the same pair without its mark, which it must not explain.
var knownCases = []struct {
	id       string
	old, new edit
	explains string // a title
	without  edit   // of both sides; nil: there is no mark
}{
	{"signed-badness", do(kernel("5.4.120"), victimsProtected), do(kernel("5.10.0"), victimsProtected, swapVictims), "victims", func(r *record.Record) { r.Scores[0].Observed = 5 }},
	{"signed-badness", do(kernel("5.4.143"), victimsProtected), do(kernel("5.4.144"), victimsProtected, swapVictims), "victims", kernel("5.4.144")},
	{"oom-score-scale", kernel("5.4.120"), do(kernel("5.10.0"), func(r *record.Record) { r.Scores[0].OOMScore *= 2 }), "oom_score of a", kernel("5.10.0")},
	{"rss-per-cpu", kernel("6.1.170"), do(kernel("6.12.0"), undetermined, swapVictims), "victims", func(r *record.Record) { r.Forecast = made().Forecast }},
	{"rss-exact", do(kernel("6.18.44"), undetermined), do(kernel("7.2.0"), swapVictims), "victims", func(r *record.Record) { r.Forecast = made().Forecast }},
	{"rss-exact", do(kernel("6.18.44"), undetermined), kernel("7.2.0"), "forecast", kernel("7.2.0")},
	{"report-columns", kernel("6.1.170"), do(kernel("6.12.0"), func(r *record.Record) { r.Kills[0].Report.Columns = append(r.Kills[0].Report.Columns, "rss_anon") }), "kernel report of columns of the task table", kernel("6.12.0")},
	{"group-kill", do(program("kubelet", "v1.27.16"), limit(func(l *qos.Limits) { l.OOMGroup = false })), program("kubelet", "v1.28.0"), "limit of b memory.oom.group", onV1},
	{"swap-off-by-default", program("kubelet", "v1.27.16"), do(program("kubelet", "v1.28.0"), limit(func(l *qos.Limits) { l.Swap = mem.LimitOf(0) })), "limit of b memory.swap.max", notByFormula},
	{"eviction-grace", do(program("kubelet", "v1.30.0"), evicted, func(r *record.Record) {
		r.After[2].Containers[0].Ended.Finished = r.Started.Add(60e9)
	}), do(program("kubelet", "v1.31.0"), evicted), "time of eviction of c", program("kubelet", "v1.31.0")},
	{"sidecar-score", do(program("kubelet", "v1.31.0"), twoContainers(500)), do(program("kubelet", "v1.32.0"), twoContainers(400)), "oom_score_adj of b/side", func(r *record.Record) { r.Scores[1].Formula = 3 }},
	{"cgroup-v1-refused", do(program("kubelet", "v1.34.2"), onV1), do(program("kubelet", "v1.35.3"), onV1, func(r *record.Record) { r.Error = "kubelet: cgroup v1 is not supported" }), "run", func(r *record.Record) {
		if r.Error != "" {
			r.Error = "no space left on device"
		}
	}},
	{"memory-qos-tiered", do(program("kubelet", "v1.35.3"), limit(func(l *qos.Limits) { l.Min = mem.LimitOf(mem.MiB) })), program("kubelet", "v1.36.3"), "limit of b memory.min", func(r *record.Record) { r.Limits[0].Formula.Min = mem.LimitOf(mem.GiB) }},
	{"memory-qos-on", do(program("kubelet", "v1.36.3"), limit(func(l *qos.Limits) { l.High = mem.LimitOf(mem.MiB) })), program("kubelet", "v1.37.2"), "limit of b memory.high", func(r *record.Record) { r.Limits[0].Formula.High = mem.LimitOf(mem.GiB) }},
	{"memory-qos-defaults", do(program("kubelet", "v1.36.3"), setting("memoryThrottlingFactor", "0.9")), program("kubelet", "v1.37.2"), "kubelet setting of memoryThrottlingFactor", program("kubelet", "v1.36.3")},
	{"huge-pages-in-eviction", do(program("kubelet", "v1.36.3"), huge), do(program("kubelet", "v1.37.2"), huge, evicted), "evictions", func(r *record.Record) { r.Host.HugePages = 0 }},
	{"qos-per-container", program("kubelet", "v1.36.3"), do(program("kubelet", "v1.37.2"), func(r *record.Record) { r.Scores[1].QoSClass = "Guaranteed" }), "qos class of b", program("kubelet", "v1.36.3")},
	{"flags-removed", program("kubelet", "v1.36.3"), do(program("kubelet", "v1.37.2"), func(r *record.Record) { r.Error = "kubelet: unknown flag: --housekeeping-interval" }), "run", func(r *record.Record) {
		if r.Error != "" {
			r.Error = "no space left on device"
		}
	}},
	{"reason-from-counter", do(program("containerd", "2.2.5"), errorReason), program("containerd", "2.4.2"), "reported end of a", func(r *record.Record) { r.Kills[0].Sources = nil }},
	{"setting-single-process", nil, single, "kills per decision of b", func(r *record.Record) { r.Scenario.Node.Kubelet.SingleProcessOOMKill = nil }},
	{"setting-restart-period", func(r *record.Record) {
		since := r.After[0].Containers[0].Since.Add(9e9)
		r.After[0].Containers[0].Since = &since
	}, backOff("1s"), "time of restart of a", func(r *record.Record) { r.Scenario.Node.Kubelet.CrashLoopBackOff = nil; r.Node.Settings = nil }},
	{"setting-restart-period", func(r *record.Record) { r.Claims[2].Verdict = record.Inconclusive }, backOff("1s"), "claim of scores", func(r *record.Record) {
		if r.Claims[2].Verdict == record.Inconclusive {
			r.Claims[2].Verdict = record.Fail
		}
	}},
	{"setting-eviction", asks("100Mi"), do(asks("400Mi"), evicted), "evictions", asks("100Mi")},
	{"setting-eviction-soft", nil, do(evicted, func(r *record.Record) {
		r.Scenario.Node.Kubelet.EvictionSoft = map[string]string{"memory.available": "1Gi"}
	}), "evictions", func(r *record.Record) { r.Scenario.Node.Kubelet.EvictionSoft = nil }},
	{"setting-memory-qos", nil, do(limit(func(l *qos.Limits) { l.High = mem.LimitOf(mem.MiB) }), func(r *record.Record) {
		r.Scenario.Node.Kubelet.FeatureGates = map[string]bool{"MemoryQoS": true}
	}), "limit of b memory.high", func(r *record.Record) { r.Scenario.Node.Kubelet.FeatureGates = nil }},
	{"lowest-score", nil, do(lowest(0), func(r *record.Record) { r.Scores[2].Observed = 0 }), "oom_score_adj of c", lowest(0)},
	{"lost-line-of-group", do(onV1, losesLine, swapVictims), losesLine, "victims", func(r *record.Record) { r.Scenario.Control.LoseKernelLog = false }},
	{"status-race", evicted, do(evicted, func(r *record.Record) {
		r.After[2].Containers[0].Ended.Reason = "ContainerStatusUnknown"
	}), "reported end of c", func(r *record.Record) { r.After[2].Reason = "" }},
	{"cgroup-v1-allowed", do(onV1, setting("failCgroupV1", "false")), setting("failCgroupV1", "true"), "kubelet setting of failCgroupV1", onV1},
	{"cgroup-version", nil, do(onV1, limit(func(l *qos.Limits) { l.OOMGroup = false })), "limit of b memory.oom.group", onV1},
	{"size-of-machine", nil, func(r *record.Record) { r.Host.MemTotal /= 2; r.Scores[0].OOMScore *= 2 }, "oom_score of a", func(r *record.Record) { r.Host.MemTotal = 1 }},
	{"size-of-node", whole, do(whole, func(r *record.Record) {
		r.Host.MemTotal /= 2
		r.Scores[1].Formula, r.Scores[1].Observed = 892, 892
	}), "oom_score_adj of b", func(r *record.Record) { r.Scenario.Node.Domain = qos.LevelKubepods }},
	{"huge-pages-transparent", nil, func(r *record.Record) { r.Host.THP = "always"; r.Kills[0].Freed *= 2 }, "memory held of a", func(r *record.Record) { r.Host.THP = "never" }},
	{"expectation", nil, func(r *record.Record) { r.Scenario.Expect.Killed = []string{"b"}; r.Claims[1].Verdict = record.Fail }, "claim of killed", func(r *record.Record) { r.Scenario.Expect.Killed = nil }},
	{"second-kill", nil, func(r *record.Record) {
		stray := r.Kills[0]
		stray.Owner, stray.Needless = owner("c"), true
		r.Kills = append(r.Kills, stray)
	}, "needless kills", func(r *record.Record) { r.Kills[len(r.Kills)-1].Needless = false }},
	{"reason-race", nil, errorReason, "reported end of a", func(r *record.Record) { r.Kills[0].Sources = nil }},
	{"report-limit", nil, func(r *record.Record) { r.Findings = []record.Finding{{Name: "reports-suppressed"}} }, "finding of reports-suppressed", func(r *record.Record) {
		if len(r.Findings) > 0 {
			r.Findings[0].Name = "reports-forged"
		}
	}},
}

func whole(r *record.Record) { r.Scenario.Node.Domain = qos.LevelGlobal }

func huge(r *record.Record) { r.Host.HugePages = mem.GiB }

func twoContainers(adj int) edit {
	return func(r *record.Record) {
		s := &r.Scores[1]
		s.Owner.Container, s.Formula, s.Observed = "side", adj, adj
	}
}

func TestKnownChangesExplainWhatTheyMake(t *testing.T) {
	covered := map[string]bool{}
	for _, tt := range knownCases {
		covered[tt.id] = true
		side := func(edits ...edit) []Run {
			return runs(times(3, slices.DeleteFunc(edits, func(e edit) bool { return e == nil })...)...)
		}
		if class, by := classOf(t, side(tt.old), side(tt.new), tt.explains); class == Unexplained || by != tt.id {
			t.Errorf("%s: %s is %s by %q", tt.id, tt.explains, class, by)
		}
		if class, by := classOf(t, side(tt.old, tt.without), side(tt.new, tt.without), tt.explains); by == tt.id {
			t.Errorf("%s: %s without its mark is %s all the same", tt.id, tt.explains, class)
		}
	}
	for _, c := range Known {
		if !covered[c.ID] {
			t.Errorf("%s: no test shows what it explains", c.ID)
		}
	}
}

// classOf returns how a difference is classed, and by which change.
func classOf(t *testing.T, old, new []Run, title string) (Class, string) {
	t.Helper()
	report, err := Compare(old, new)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Cells[0].Differences {
		if d.Title() != title {
			continue
		}
		if d.Change == nil {
			return d.Class, ""
		}
		return d.Class, d.Change.ID
	}
	return "absent", ""
}

func TestKnownChangesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Known {
		if seen[c.ID] || c.ID == "" || c.What == "" || c.Reference == "" || len(c.explains) == 0 {
			t.Errorf("%+v: want an id of its own, a sentence, a reference and aspects", c)
		}
		seen[c.ID] = true
		if c.race() && c.fits == nil {
			t.Errorf("%s: a race without a mark would explain everything", c.ID)
		}
		if (c.Component == "") != (c.Release == "") {
			t.Errorf("%s: a component and its release belong together", c.ID)
		}
		if c.Component != "" {
			if _, err := c.In(c.Release); err != nil {
				t.Error(err)
			}
		}
		if strings.HasSuffix(c.What, ".") {
			t.Errorf("%s: the sentence goes on, it has no full stop", c.ID)
		}
	}
}

// The table and the model of the kernel are about the same releases.
func TestKernelChangesAreThoseOfTheModel(t *testing.T) {
	errorOf := func(release string) mem.Pages {
		v, err := oom.ParseVersion(release)
		if err != nil {
			t.Fatal(err)
		}
		return oom.Kernel{Version: v, CPUs: 64}.CounterError(oom.Task{Threads: 1, Anon: 100000})
	}
	for id, releases := range map[string][2]string{"rss-per-cpu": {"6.1", "6.2"}, "rss-exact": {"6.19", "7.0"}} {
		i := slices.IndexFunc(Known, func(c Change) bool { return c.ID == id })
		before, _ := Known[i].In(releases[0])
		after, _ := Known[i].In(releases[1])
		if before || !after || errorOf(releases[0]) == errorOf(releases[1]) {
			t.Errorf("%s: the table says %v in %s and %v in %s, the model's error is %d and %d", id,
				before, releases[0], after, releases[1], errorOf(releases[0]), errorOf(releases[1]))
		}
	}
}

func TestParseRelease(t *testing.T) {
	for text, want := range map[string][3]int{
		"v1.37.2": {1, 37, 2}, "1.37": {1, 37, 0}, "6.18.44-fc-v782": {6, 18, 44}, "v1.36.3+k3s1": {1, 36, 3}, "2.4.2": {2, 4, 2}, "5.10.0-30-amd64": {5, 10, 0},
	} {
		if got, err := parseRelease(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "v1", "none", "six.one"} {
		if got, err := parseRelease(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// What follows from an explained difference is explained; what has nothing to do
// with it is not.
func TestConsequences(t *testing.T) {
	upgraded := do(kernel("7.2.0"), swapVictims, func(r *record.Record) { r.Kills = r.Kills[:1]; r.After[0] = made().Before[0] })
	got := lines(t, runs(made(undetermined)), runs(made(upgraded, func(r *record.Record) { r.After[1].Containers[0].Ended.ExitCode = 139 })))
	want := []string{
		"unexplained: reported end of b", // killed on both sides
		"explained: forecast by rss-exact",
		"explained: victims by rss-exact",
		"explained: kills per decision of b from victims", // its turn is another
		"explained: reported end of a from victims",
		"explained: restarts of a from victims",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// A downgrade is explained as an upgrade is.
func TestDowngrade(t *testing.T) {
	report, err := Compare(runs(made(program("containerd", "2.4.2"))), runs(made(program("containerd", "2.2.5"), errorReason)))
	if err != nil {
		t.Fatal(err)
	}
	if d := report.Cells[0].Differences[0]; d.Class != Explained || !strings.Contains(d.Why, "containerd 2.4.2 has it, 2.2.5 does not") {
		t.Errorf("%+v", d)
	}
}
