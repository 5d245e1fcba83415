package scenarios

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

func TestCatalog(t *testing.T) {
	names := Names()
	if len(names) < 11 {
		t.Fatalf("the catalog has only %v", names)
	}
	for _, name := range names {
		s, err := Named(name)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		if s.Metadata.Name != name {
			t.Errorf("%s.yaml holds scenario %q", name, s.Metadata.Name)
		}
		if s.Source == "" && s.Control == nil {
			t.Errorf("%s does not say where its claim was made", name)
		}
		// The kubelet admits no pod whose request does not fit any more.
		var requests mem.Bytes
		for _, w := range s.Workloads {
			for _, pod := range w.PodNames() {
				for _, c := range w.Pod(pod).Containers {
					requests += c.Requests.Memory
				}
			}
		}
		if requests > s.Node.Kubepods() {
			t.Errorf("%s: pods request %s of %s", name, requests, s.Node.Kubepods())
		}
	}
}

// make e2e plays the quick scenarios on two workers and has four minutes for
// it, of which the cluster takes half a one.
func TestQuickScenariosAreQuick(t *testing.T) {
	var quick, longest time.Duration
	for _, name := range Names() {
		s, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		takes := s.Metadata.Takes.Duration
		isQuick, isLong := slices.Contains(s.Metadata.Labels, "quick"), slices.Contains(s.Metadata.Labels, "long")
		switch {
		case takes == 0:
			t.Errorf("%s does not say how long it takes", name)
		case isLong == (takes <= 2*time.Minute):
			t.Errorf("%s takes %s: the label long is for what takes more than two minutes", name, takes)
		case isQuick && s.Metadata.RunsIn("kind"):
			quick += takes
			longest = max(longest, takes)
		}
	}
	if budget := 2*(4*time.Minute-30*time.Second) - longest; quick > budget {
		t.Errorf("the quick scenarios take %s, and two workers have %s together: take the label from some", quick, budget)
	}
}

// errorsOf returns what is wrong with a file of testdata, a line each.
func errorsOf(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = Parse(name, f)
	if err == nil {
		t.Fatalf("testdata/%s was accepted", name)
	}
	return strings.Split(err.Error(), "\n")
}

func TestErrorsOfPods(t *testing.T) {
	want := []string{
		`wrong-pods.yaml:3: metadata.takes: "long" is not a duration: write 10s or 2m`,
		`wrong-pods.yaml:6: needs.kubelet: kubelet version "2": want something like v1.37.2`,
		`wrong-pods.yaml:6: needs.kernel: "six" is not a kernel release: want one such as 6.18.44`,
		"wrong-pods.yaml:6: needs.cgroup: 3: want 1 or 2",
		"wrong-pods.yaml:10: workloads[0].priority: say either priority or priorityClassName",
		`wrong-pods.yaml:11: workloads[0].priorityClassName: "high": want system-node-critical or system-cluster-critical, or say priority`,
		`wrong-pods.yaml:12: workloads[0].resources.limits.memory: "1X": not an amount of memory: write digits and a unit such as 150Mi or 2Gi`,
		`wrong-pods.yaml:13: workloads[0].emptyDir.medium: "Disk": want Memory`,
		`wrong-pods.yaml:13: workloads[0].emptyDir.sizeLimit: "many": not an amount of memory: write digits and a unit such as 150Mi or 2Gi`,
		"wrong-pods.yaml:14: workloads[0].job: a Job has one pod with restartPolicy Never or OnFailure",
		`wrong-pods.yaml:15: workloads[0].after: "DiskPressure": want MemoryPressure`,
		`wrong-pods.yaml:22: workloads[0].initContainers[0].restartPolicy: "Never": want Always, or nothing`,
		`wrong-pods.yaml:21: workloads[0].initContainers[0].name: "a": give every container a name of its own`,
		`wrong-pods.yaml:17: workloads[0].exec: plan: want a step (fill, ramp, step, leak, spike, saw, hold, await, touch, release or repeat), not "fil"`,
		`	fil 10Mi`,
		`	^^^`,
		`wrong-pods.yaml:18: workloads[0].afterRestart: "never": want small, again or end`,
		`wrong-pods.yaml:19: workloads[0].livenessProbe.memoryBelow: "much": not an amount of memory: write digits and a unit such as 150Mi or 2Gi`,
		"wrong-pods.yaml:24: workloads[1].priority: -1: want 1 to 1000000000, as users may",
		"wrong-pods.yaml:26: workloads[1].containers: either list containers or describe the only one directly, not both",
		`wrong-pods.yaml:28: workloads[1].containers[1].name: "one": give every container a name of its own`,
		"wrong-pods.yaml:30: meanwhile[0]: want either restartKubelet or resize",
		"wrong-pods.yaml:31: meanwhile[1]: want either restartKubelet or resize",
		`wrong-pods.yaml:32: meanwhile[1].resize.workload: "b" has several containers: only one can be resized`,
		`wrong-pods.yaml:32: meanwhile[1].resize.limit: "few": not an amount of memory: write digits and a unit such as 150Mi or 2Gi`,
		`wrong-pods.yaml:33: meanwhile[2].resize.workload: no workload is called "c"`,
		`wrong-pods.yaml:37: expect.thrashes[0]: no workload is called "c": there are a, b`,
		`wrong-pods.yaml:36: expect.backOff.workload: no workload is called "c"`,
		`wrong-pods.yaml:36: expect.backOff.delays[0]: "soon" is not a duration: write 10s or 2m`,
	}
	if diff := cmp.Diff(want, errorsOf(t, "wrong-pods.yaml")); diff != "" {
		t.Errorf("errors differ (-want +got):\n%s", diff)
	}
}

func TestErrorsComeAllAtOnceWithTheirPlace(t *testing.T) {
	got := errorsOf(t, "wrong.yaml")
	want := []string{
		"wrong.yaml:9: node.memroy: unknown field",
		"wrong.yaml:4: metadata.name: \"Not A Label\": use up to 42 lower-case letters, digits and dashes",
		"wrong.yaml:5: title: missing: say in one sentence how the story ends",
		"wrong.yaml:8: node.memory: 0: a node needs at least 512Mi",
		"wrong.yaml:10: node.domain: \"pods\": want one of [container pod kubepods node global]",
		"wrong.yaml:8: node.reserved: 512Mi of 0 leave nothing for pods",
		"wrong.yaml:13: workloads[0].requests.memory: \"100X\": not an amount of memory: write digits and a unit such as 150Mi or 2Gi",
		"wrong.yaml:14: workloads[1].name: \"a\" is there twice",
		"wrong.yaml:15: workloads[1].restartPolicy: \"Sometimes\": want Always, OnFailure or Never",
		"wrong.yaml:11: workloads: nobody presses: give one of them a press plan",
		"wrong.yaml:17: until.within: \"soon\" is not a duration: write 10s or 2m",
		"wrong.yaml:19: expect.killed[0]: no workload is called \"b\": there are a, a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors differ (-want +got):\n%s", diff)
	}
}

func TestStrictness(t *testing.T) {
	good, err := catalog.ReadFile("catalog/qos-order.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"empty":                    {"", "the file is empty"},
		"two documents":            {string(good) + "---\n" + string(good), "more than one YAML document"},
		"duplicate key":            {string(good) + "until: {kills: 1}\n", `mapping key "until" already defined`},
		"wrong case":               {strings.Replace(string(good), "kind:", "Kind:", 1), "Kind: unknown field"},
		"wrong type":               {strings.Replace(string(good), "kills: 2", "kills: two", 1), "want int, not a string"},
		"no such field":            {strings.Replace(string(good), "- name: best-effort", "- name: best-effort\n  nodeSelector: low", 1), "workloads[0].nodeSelector: unknown field"},
		"global where it can't be": {strings.Replace(string(good), "domain: kubepods", "domain: global", 1), "metadata.labels: domain global: add the label lab:vm"},
		"wrong plan":               {strings.Replace(string(good), "fill 350Mi", "fil 350Mi", 1), "workloads[0].balloon"},
		"wrong beside":             {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi\n  beside: [fill 1Mi, fil 2Mi]", 1), "workloads[0].beside[1]"},
		"endless beside":           {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi\n  beside: [\"fill 1Mi, hold\"]", 1), "workloads[0].beside[0]: \"hold\": in the end it holds anyway"},
		"wrong score":              {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi\n  oomScoreAdj: 1001", 1), "workloads[0].oomScoreAdj: 1001: want -1000 to 1000"},
		"wrong pod":                {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi\n  resources: {limits: {memory: 1X}}", 1), "workloads[0].resources.limits.memory"},
		"no end":                   {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi, hold\n  press: fill 400Mi", 1), `workloads[0].balloon: "hold" has no end, so the press plan is never reached`},
		"press below":              {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi\n  press: fill 300Mi", 1), "workloads[0].press: plan: 350Mi anon is held here already"},
		"press spread":             {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi\n  press: children 2, fill 400Mi", 1), "workloads[0].press: children and threads"},
		"awaits twice":             {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: fill 350Mi, await, fill 400Mi", 1), "\tfill 350Mi, await, fill 400Mi\n\t            ^^^^^"},
		"above limit":              {strings.Replace(string(good), "ramp 700Mi at", "ramp 730Mi at", 1), "press: plan: larger than the container's limit of 720Mi: to be killed for it, write 102% of limit"},
		"no limit":                 {strings.Replace(string(good), "fill 350Mi", "fill 10% of limit", 1), "the container has no memory limit"},
		"no steps":                 {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: [fill 350Mi, 12]", 1), "balloon: want string, not a array"},
		"wrong step":               {strings.Replace(string(good), "balloon: fill 350Mi", "balloon: [fill 350Mi, hold 1]", 1), "\tfill 350Mi, hold 1\n\t                 ^"},
	} {
		if _, err := Parse("f.yaml", strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
}

// A container may hold a balloon and press on top of it.
func TestBalloonAndPress(t *testing.T) {
	good, err := catalog.ReadFile("catalog/qos-order.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(good), "press: ramp 700Mi", "balloon:\n  - fill 50% of request\n  - hold 1s\n  press: ramp 700Mi", 1)
	s, err := Parse("f.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	w, _ := s.Workload("pressure")
	whole, err := w.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if want := "fill 50% of request, hold 1s, await, ramp 700Mi at 100Mi/s, hold"; whole.String() != want {
		t.Errorf("plan %q, want %q", whole, want)
	}
	curve, err := whole.Curve(w.Sizes())
	if err != nil || curve.Peak() != 700*mem.MiB || curve.At(0) != 360*mem.MiB {
		t.Errorf("peak %v, balloon %v, %v; the request is the limit's 720Mi", curve.Peak(), curve.At(0), err)
	}
}

func TestPod(t *testing.T) {
	s, err := Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]qos.Class{}
	for _, w := range s.Workloads {
		got[w.Name] = qos.ClassOf(w.Pod(w.Name), qos.Newest)
	}
	want := map[string]qos.Class{"best-effort": qos.BestEffort, "burstable": qos.Burstable, "guaranteed": qos.Guaranteed, "pressure": qos.Guaranteed}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("QoS classes (-want +got):\n%s", diff)
	}
	w := Workload{Name: "small", Replicas: 2}
	if diff := cmp.Diff([]string{"small-1", "small-2"}, w.PodNames()); diff != "" {
		t.Errorf("pod names (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		data, err := catalog.ReadFile("catalog/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f", strings.NewReader(text))
		if (s == nil) == (err == nil) {
			t.Errorf("scenario %v with error %v", s, err)
		}
	})
}

func TestRunsIn(t *testing.T) {
	for _, tt := range []struct {
		labels []string
		lab    string
		want   bool
	}{
		{nil, "kind", true},
		{[]string{"quick", "domain:node"}, "kind", true},
		{[]string{"quick", "lab:vm"}, "vm", true},
		{[]string{"quick", "lab:vm"}, "kind", false},
		{[]string{"lab:vm", "lab:cgroup"}, "cgroup", true},
	} {
		if got := (Metadata{Labels: tt.labels}).RunsIn(tt.lab); got != tt.want {
			t.Errorf("labels %v in lab %s: %t", tt.labels, tt.lab, got)
		}
	}
}
