package termination

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

var ended = time.Date(2025, 11, 27, 5, 1, 10, 0, time.UTC)

// account is a pod of one container, "app", that ended a minute after its start.
func account(how record.Termination, change ...func(*Account)) Account {
	how.ContainerID, how.Started, how.Finished = "aaa", ended.Add(-time.Minute), ended
	a := Account{
		Pods: []explain.Pod{{
			Pod: qos.Pod{Namespace: "shop", Name: "web", UID: "uid-web", StatusClass: qos.Burstable, Containers: []qos.Container{{
				Name: "app", Requirements: qos.Requirements{Limits: qos.Resources{Memory: 512 * mem.MiB}},
			}}},
			Node: "n1", ContainerIDs: map[string][]string{"app": {"bbb", "aaa"}},
			Status: record.Pod{Containers: []record.Container{{Name: "app", ID: "containerd://bbb", Running: true, RestartCount: 1, Ended: &how}}},
		}},
		Runtimes: map[string]string{"n1": "containerd://2.3.4"},
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

func withEvent(v Event, at time.Duration) func(*Account) {
	return func(a *Account) {
		v.First, v.Last = ended.Add(at), ended.Add(at)
		a.Events = append(a.Events, v)
	}
}

// withKill adds a log with a kill in a container of the pod.
func withKill(id string) func(*Account) {
	return func(a *Account) {
		a.HasLog = true
		a.Kills = append(a.Kills, Kill{
			Process: oomreport.Process{PID: 201, Name: "python"}, Report: len(a.Kills) + 1,
			Place: explain.Place{Path: "/kubepods/poduid-web/" + id, PodUID: "uid-web", ContainerID: id},
		})
	}
}

func withLog(a *Account) { a.HasLog = true }

func status(change func(*record.Pod)) func(*Account) {
	return func(a *Account) { change(&a.Pods[0].Status) }
}

var (
	oom   = record.Termination{Reason: "OOMKilled", ExitCode: 137}
	plain = record.Termination{Reason: "Error", ExitCode: 137}
	ofPod = Event{Kind: "Pod", Namespace: "shop", Name: "web", Container: "app", Count: 1}
)

func event(reason, message string) Event {
	v := ofPod
	v.Reason, v.Message = reason, message
	return v
}

func TestConclude(t *testing.T) {
	for _, tt := range []struct {
		name    string
		account Account
		cause   Cause    // "": no ending
		says    []string // part of Why, Open or Findings
		not     string
	}{
		{"reported", account(oom), Reported, []string{"was told of an OOM kill", "ended by SIGKILL", "its own limit, 512Mi", "which of its processes"}, "OOMKilled-without"},
		{"a child", account(record.Termination{Reason: "OOMKilled", ExitCode: 0}), Reported, []string{"killed a child of it"}, "SIGKILL, with"},
		{"no limit", account(oom, func(a *Account) { a.Pods[0].Containers[0].Limits.Memory = 0 }), Reported, []string{"has no limit of its own"}, "its own limit,"},
		{"pod limit", account(oom, func(a *Account) {
			a.Pods[0].Resources = &qos.Requirements{Limits: qos.Resources{Memory: mem.GiB}}
		}), Reported, []string{"the pod's limit of 1Gi"}, ""},
		{"no spec", account(oom, func(a *Account) { a.Pods[0].Containers = nil }), Reported, []string{"what ran out: the container, the pod,"}, "no limit"},
		{"logged", account(oom, withKill("aaa")), Logged, []string{"report 1 of the kernel's log: python/201", "OOMKilled as well"}, "without"},
		{"logged, and the runtime was late", account(plain, withKill("aaa")), Logged, []string{"killed-but-reported-Error", "containerd 2.3.4 reads"}, "exit-137"},
		{"logged, and went on for a while", account(record.Termination{Reason: "Error", ExitCode: 3}, withKill("aaa")), Logged, []string{"a child of that"}, "killed-but"},
		{"not in the log", account(oom, withLog), Reported, []string{"reported-OOMKilled-without-kernel-kill", "if that covers 2025-11-27T05:01:10Z of node n1"}, ""},
		{"perhaps in the log", account(oom, withLog, func(a *Account) { a.Kills = []Kill{{Report: 1}} }), Reported, []string{"1 of its kills name no cgroup"}, ""},
		{"in a container before", account(oom, withKill("000")), Reported, []string{"does not know any more", "without-kernel-kill"}, ""},
		{"the next container's child", account(oom, withKill("bbb")), Reported, []string{"child-killed-silently"}, ""},
		{"unknown", account(plain), Unknown, []string{"nothing says who sent it", "did not hear in time", "a shell does", "no events were given"}, "exit-137-without"},
		{"unknown, with a log", account(plain, withLog), Unknown, []string{"exit-137-without-oom"}, ""},
		{"old runtime", account(plain, func(a *Account) { a.Runtimes["n1"] = "containerd://1.7.27" }), Unknown, []string{"containerd 1.7.27 may report Error"}, ""},
		{"other runtime", account(plain, func(a *Account) { a.Runtimes["n1"] = "cri-o://1.34.0" }), Unknown, []string{"whether cri-o://1.34.0 can miss one"}, "may report Error"},
		{"a probe", account(plain, withEvent(event("Killing", "Container app failed liveness probe, will be restarted"), -30*time.Second)), Stopped, []string{"failed liveness probe", "own SIGKILL"}, "nothing says"},
		{"a probe of another life", account(plain, withEvent(event("Killing", "Container app failed liveness probe, will be restarted"), -time.Hour)), Unknown, []string{"no event of that time"}, "own SIGKILL"},
		{"a probe of another container", account(plain, withEvent(Event{Kind: "Pod", Namespace: "shop", Name: "web", Container: "mesh", Reason: "Killing"}, 0)), Unknown, []string{"no event of that time"}, "own SIGKILL"},
		{"evicted by an event", account(plain, withEvent(Event{Kind: "Pod", Namespace: "shop", Name: "web", Reason: "Evicted", Message: "The node was low on resource: memory."}, 0)), Stopped, []string{"low on resource"}, ""},
		{"the node's event", account(plain, withEvent(Event{Kind: "Node", Name: "n1", Reason: "SystemOOM", Message: "System OOM encountered, victim process: a, pid: b, pid: 12"}, time.Second)), Unknown, []string{"killed a, pid: b/12", "whether this is its kill"}, ""},
		{"another node's", account(plain, withEvent(Event{Kind: "Node", Name: "n2", Reason: "SystemOOM"}, time.Second)), Unknown, nil, "whether this is its kill"},
		{"long before", account(plain, withEvent(Event{Kind: "Node", Name: "n1", Reason: "SystemOOM"}, -time.Minute)), Unknown, nil, "whether this is its kill"},
		{"lost", account(record.Termination{Reason: "ContainerStatusUnknown", ExitCode: 137}), Lost, []string{"made reason and exit code up"}, "SIGKILL"},
		{"at start", account(record.Termination{Reason: "StartError", ExitCode: 128, Message: "container init was OOM-killed (memory limit too low?)"}), AtStart, []string{"before its program began"}, ""},
		{"evicted", account(plain, status(func(p *record.Pod) { p.Reason = "Evicted" })), Evicted, []string{"that is no OOM kill"}, "SIGKILL"},
		{"refused", account(record.Termination{}, status(func(p *record.Pod) { p.Reason, p.Message = "Evicted", "The node had condition: [MemoryPressure]. " })), Refused, []string{"never ran"}, ""},
		{"another end", account(record.Termination{Reason: "Error", ExitCode: 1}, withLog), "", nil, "app"},
		{"a stop", account(record.Termination{Reason: "Error", ExitCode: 143}), "", nil, "app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Conclude(tt.account)
			var all []string
			for _, e := range r.Endings {
				all = append(all, slices.Concat(e.Why, e.Open)...)
			}
			for _, f := range r.Findings {
				all = append(all, f.Name+": "+f.Text)
			}
			text := strings.Join(all, "\n")
			switch {
			case tt.cause == "" && len(r.Endings) > 0:
				t.Errorf("%+v", r.Endings)
			case tt.cause != "" && (len(r.Endings) == 0 || r.Endings[0].Cause != tt.cause):
				t.Errorf("%+v, want %s", r.Endings, tt.cause)
			}
			for _, want := range tt.says {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
			if tt.not != "" && strings.Contains(text, tt.not) {
				t.Errorf("%q is in\n%s", tt.not, text)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	for _, tt := range []struct{ reason, message, means string }{
		{"SystemOOM", "System OOM encountered", "the kernel killed a process;"},
		{"SystemOOM", "System OOM encountered, victim process: java, pid: 7", "the kernel killed java/7;"},
		{"OOMKilling", "Out of memory: Killed process 7 (java) total-vm:4kB, anon-rss:4kB, file-rss:0kB", "killed java/7; the whole machine"},
		{"OOMKilling", "Memory cgroup out of memory: Kill process 7 (java) score 1 or sacrifice child\nKilled process 8 (sh) total-vm:4kB, anon-rss:4kB, file-rss:0kB", "killed sh/8; a memory cgroup ran out"},
		{"OOMKilling", "Killed process 8 (sh) total-vm:4kB, anon-rss:4kB, file-rss:0kB", "killed sh/8; what ran out is not told"},
		{"OOMKilling", "garbage", "which one the event does not tell"},
		{"Evicted", "The node was low on resource: memory.", "no OOM kill"},
		{"EvictionThresholdMet", "Attempting to reclaim memory", "no OOM kill"},
		{"NodeHasInsufficientMemory", "", "MemoryPressure"},
		{"Preempting", "", "more important"},
		{"Killing", "Stopping container app", "the kubelet stopped"},
		{"ExceededGracePeriod", "", "grace period"},
		{"Unhealthy", "Liveness probe failed: timeout", "a probe failed"},
		{"Unhealthy", "Liveness probe errored and resulted in unknown state: rpc error", "could not be made"},
		{"Unhealthy", "Readiness probe failed: timeout", ""},
		{"BackOff", "Back-off restarting failed container app", "again and again"},
		{"BackOff", "Back-off pulling image", ""},
		{"Pulled", "", ""},
	} {
		r := Conclude(Account{Events: []Event{event(tt.reason, tt.message)}})
		switch {
		case tt.means == "" && !r.Empty():
			t.Errorf("%s %q: %+v", tt.reason, tt.message, r)
		case tt.means != "" && (len(r.Events) != 1 || !strings.Contains(r.Events[0].Means, tt.means)):
			t.Errorf("%s %q: %+v, want %q", tt.reason, tt.message, r.Events, tt.means)
		}
	}
}

func TestKillsOf(t *testing.T) {
	victim, other := oomreport.Process{PID: 1, Name: "a"}, oomreport.Process{PID: 2, Name: "b"}
	place, group := explain.Place{Path: "/a"}, explain.Place{Path: "/g"}
	for name, tt := range map[string]struct {
		e    explain.Explanation
		want []Kill
	}{
		"two": {explain.Explanation{Victim: &explain.Victim{Process: victim, Place: place}, Killed: []explain.Killed{{Process: victim}, {Process: other}}},
			[]Kill{{Process: victim, Report: 7, Place: place}, {Process: other, Report: 7}}},
		"group": {explain.Explanation{Victim: &explain.Victim{Process: victim, Place: place}, GroupKill: &group, Killed: []explain.Killed{{Process: victim}, {Process: other}}},
			[]Kill{{Process: victim, Report: 7, Place: group}, {Process: other, Report: 7, Place: group}}},
		"cut":  {explain.Explanation{Victim: &explain.Victim{Process: victim, Place: place}}, []Kill{{Process: victim, Report: 7, Place: place}}},
		"none": {explain.Explanation{}, nil},
	} {
		if got := KillsOf(&tt.e, 7); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
