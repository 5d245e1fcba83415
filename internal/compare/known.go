package compare

import (
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/verdict"
)

// Known are the known changes. The first that fits is given as the explanation,
// so that the specific ones stand before the general ones. To add one: name
// what it makes differ and no more, and give it a mark (fits) where a release
// lies between many upgrades; the test wants a case of it.
var Known = []Change{
	// The kernel.
	{
		ID: "signed-badness", Component: factKernel, Release: "5.9", Backports: []string{"5.4.144"},
		What:      "badness may be negative; before, every process that is protected well enough counted 1, and of those the youngest died",
		Reference: "kernel commit 9066e5cfb73c (mm/oom_kill.c, oom_badness)",
		explains:  []Aspect{Forecast, Victims}, fits: protectedVictims,
	},
	{
		ID: "oom-score-scale", Component: factKernel, Release: "5.9", Backports: []string{"5.4.144"},
		What:      "/proc/PID/oom_score runs from 0 to 2000 with 666 for a small process of oom_score_adj 0; before, it began at 0",
		Reference: "kernel commit 9066e5cfb73c (fs/proc/base.c, proc_oom_score)",
		explains:  []Aspect{OOMScore},
	},
	// The first that fits explains: where the new kernel is sure, it is exact.
	{
		ID: "rss-exact", Component: factKernel, Release: "7.0",
		What:      "badness sums the counters of resident memory exactly, so that a choice that was within their error is none of chance any more",
		Reference: "kernel commit 5898aa8f9a0b (mm/oom_kill.c)",
		explains:  []Aspect{Forecast, Victims}, fits: all(marginal, decidedNow),
	},
	{
		ID: "rss-per-cpu", Component: factKernel, Release: "6.2",
		What:      "resident memory is counted per CPU and read approximately where it was counted per thread, so that a narrow choice of the victim may go the other way",
		Reference: "kernel commit f1a7941243c1 (mm: convert mm's rss stats into percpu_counter)",
		explains:  []Aspect{Forecast, Victims}, fits: marginal,
	},
	{
		ID: "report-columns", Component: factKernel, Release: "6.8",
		What:      "the task table of an OOM report splits rss into rss_anon, rss_file and rss_shmem",
		Reference: "mm/oom_kill.c, dump_tasks",
		explains:  []Aspect{Log},
	},

	// The kubelet.
	{
		ID: "group-kill", Component: factKubelet, Release: "1.28",
		What:      "on cgroup v2 an OOM kill takes all processes of a container: memory.oom.group is set",
		Reference: "kubernetes/kubernetes#117793",
		explains:  []Aspect{Limit, Decision}, fits: all(cgroup2, file("memory.oom.group")),
	},
	{
		ID: "swap-off-by-default", Component: factKubelet, Release: "1.28",
		What:      "memory.swap.max is written: 0, unless the node's swap behaviour gives the container a share",
		Reference: "kubernetes/kubernetes#118764, KEP-2400",
		explains:  []Aspect{Limit}, fits: all(file("memory.swap.max"), modelled),
	},
	{
		ID: "eviction-grace", Component: factKubelet, Release: "1.31",
		What:      "a hard eviction gives the pod one second; before, by a mistake, its whole grace period",
		Reference: "kubernetes/kubernetes#124063",
		explains:  []Aspect{Time}, fits: subject("eviction of "),
	},
	{
		ID: "sidecar-score", Component: factKubelet, Release: "1.32",
		What:      "a sidecar scores no higher than the pod's regular containers",
		Reference: "kubernetes/kubernetes#128029, KEP-753",
		explains:  []Aspect{Score}, fits: all(modelled, hasContainers),
	},
	{
		ID: "cgroup-v1-refused", Component: factKubelet, Release: "1.35",
		What:      "the kubelet does not start on cgroup v1 unless failCgroupV1 is false",
		Reference: "kubernetes/kubernetes#134298, KEP-5573",
		explains:  []Aspect{Finished}, fits: all(cgroup1, failure("cgroup v1")),
	},
	{
		ID: "memory-qos-tiered", Component: factKubelet, Release: "1.36",
		What:      "with MemoryQoS requests are protected by memory.min and memory.low only under memoryReservationPolicy TieredReservation; before, every request was memory.min",
		Reference: "kubernetes/kubernetes#137584, KEP-2570",
		explains:  []Aspect{Limit}, fits: all(file("memory.min", "memory.low"), modelled),
	},
	{
		ID: "memory-qos-on", Component: factKubelet, Release: "1.37",
		What:      "MemoryQoS is on by default, and memoryThrottlingFactor has no default any more (it was 0.9), which leaves memory.high alone",
		Reference: "kubernetes/kubernetes#140007, KEP-2570",
		explains:  []Aspect{Limit}, fits: all(file("memory.high", "memory.min", "memory.low"), modelled),
	},
	{
		ID: "memory-qos-defaults", Component: factKubelet, Release: "1.37",
		What:      "memoryThrottlingFactor has no default any more (it was 0.9), and memoryReservationPolicy is None",
		Reference: "kubernetes/kubernetes#140007, KEP-2570",
		explains:  []Aspect{Setting}, fits: subject("memoryThrottlingFactor", "memoryReservationPolicy"),
	},
	{
		ID: "huge-pages-in-eviction", Component: factKubelet, Release: "1.37",
		What:      "what is set aside for huge pages no longer counts as available memory, so that evictions begin earlier",
		Reference: "kubernetes/kubernetes#138127",
		explains:  []Aspect{Evicted, Seen, Time}, fits: hugePages,
	},
	{
		ID: "qos-per-container", Component: factKubelet, Release: "1.37",
		What:      "the QoS class looks at each container where it looked at the pod's sums",
		Reference: "pkg/apis/core/v1/helper/qos/qos.go, ComputePodQOS",
		explains:  []Aspect{QoSClass, Score, Limit}, fits: all(modelled, classChanged),
	},
	{
		ID: "flags-removed", Component: factKubelet, Release: "1.37",
		What:      "flags that were cAdvisor's are gone, and the kubelet does not start with one",
		Reference: "kubernetes/kubernetes#139870",
		explains:  []Aspect{Finished}, fits: failure("unknown flag"),
	},

	// containerd.
	{
		ID: "reason-from-counter", Component: "containerd", Release: "2.3.0",
		What:      "a container that the kernel killed is reported as OOMKilled: pending OOM events are taken before its exit, and the cgroup's counter is read; before, Error with exit code 137 was a matter of milliseconds",
		Reference: "containerd/containerd#12714, #8893",
		explains:  []Aspect{Reported, Found}, fits: killedAnyway,
	},

	// Settings of the kubelet.
	{
		ID: "setting-single-process", Setting: "singleProcessOOMKill",
		What:      "with singleProcessOOMKill an OOM kill takes one process, not its whole container",
		Reference: "kubernetes/kubernetes#126096 (1.32)",
		explains:  []Aspect{Limit, Decision, Held, Reported, Restarts, Found, Time}, fits: ofGroupKill,
	},
	{
		ID: "setting-restart-period", Setting: "crashLoopBackOff",
		What:      "maxContainerRestartPeriod bounds the wait before a container is restarted, the first wait too",
		Reference: "KEP-4603 (1.32, on by default from 1.35: kubernetes/kubernetes#135044)",
		explains:  []Aspect{Restarts, Claim, Time}, fits: ofRestarts,
	},
	{
		ID: "setting-eviction", Setting: "evictionHard",
		What:      "the kubelet evicts when less is available than evictionHard says: earlier or later, in place of the kernel or after it",
		Reference: "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
		explains:  []Aspect{Evicted, Seen, Victims, Time},
	},
	{
		ID: "setting-eviction-soft", Setting: "evictionSoft",
		What:      "the kubelet evicts when less is available than evictionSoft says for as long as its grace period",
		Reference: "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
		explains:  []Aspect{Evicted, Seen, Victims, Time},
	},
	{
		ID: "setting-memory-qos", Setting: "featureGates.MemoryQoS",
		What:      "MemoryQoS writes memory.high, and memory.min or memory.low, where it is on",
		Reference: "KEP-2570",
		explains:  []Aspect{Limit}, fits: all(file("memory.high", "memory.min", "memory.low"), modelled),
	},

	// The machine.
	{
		ID: "lowest-score", Fact: factLowest,
		What:      "without CAP_SYS_RESOURCE nobody can lower an oom_score_adj, so that protected processes are not protected",
		Reference: "capabilities(7), fs/proc/base.c, __set_oom_adj",
		explains:  []Aspect{Score},
	},
	{
		ID: "cgroup-version", Fact: factCgroup,
		What:      "memory.oom.group, memory.high, memory.low, memory.min and swap limits of their own exist in cgroup v2 only",
		Reference: "Documentation/admin-guide/cgroup-v2.rst",
		explains:  []Aspect{Limit, Decision}, fits: unifiedOnly,
	},
	{
		ID: "lost-line-of-group", Fact: factCgroup,
		What:      "of a container that dies as a whole the kernel logs the first process twice, so that a lost line leaves the other one",
		Reference: "mm/oom_kill.c, oom_kill_process, oom_kill_memcg_member",
		explains:  []Aspect{Victims}, fits: losesLog,
	},
	{
		ID: "cgroup-v1-allowed", Fact: factCgroup,
		What:      "on cgroup v1 oomlab sets failCgroupV1 to false, without which kubelets from 1.35 on do not start there",
		Reference: "kubernetes/kubernetes#134298, KEP-5573",
		explains:  []Aspect{Setting}, fits: subject("failCgroupV1"),
	},
	{
		ID: "size-of-machine", Fact: factMemory,
		What:      "/proc/PID/oom_score relates a process to the memory of the whole machine",
		Reference: "fs/proc/base.c, proc_oom_score",
		explains:  []Aspect{OOMScore},
	},
	{
		ID: "size-of-node", Fact: factMemory,
		What:      "where the whole machine runs out it is the node, and its MemTotal, which kernels leave more or less of, decides the limits and scores",
		Reference: "mm/show_mem.c, si_meminfo; pkg/kubelet/qos/policy.go, GetContainerOOMScoreAdjust",
		explains:  []Aspect{Limit, Score}, fits: all(modelled, machineIsNode),
	},
	{
		ID: "huge-pages-transparent", Fact: factTHP,
		What:      "with transparent huge pages a process holds up to 2 MiB more for each of its mappings",
		Reference: "Documentation/admin-guide/mm/transhuge.rst",
		explains:  []Aspect{Held, OOMScore},
	},
	{
		ID: "expectation", Fact: expectPrefix,
		What:      "the scenario expects something else",
		Reference: "the scenario file",
		explains:  []Aspect{Claim},
	},

	// Races, which need no change at all.
	{
		ID: "second-kill", What: "a dying process is no candidate any more while its memory still counts, so that now and then another one is killed needlessly",
		Reference: "docs/evidence.md, second-kill-before-release",
		explains:  []Aspect{Needless, Found}, fits: only(Needless, "second-kill-before-release"),
	},
	{
		ID: "reason-race", What: "the runtime reads the counter of a container's cgroup after the container has ended, and may come too late: then it reports Error, still with exit code 137",
		Reference: "containerd/containerd#8893, kubernetes/kubernetes#119600",
		explains:  []Aspect{Reported, Found}, fits: killedAnyway,
	},
	{
		ID: "status-race", What: "a container of an evicted pod may be gone from the runtime before the kubelet has read how it ended: then its reason is ContainerStatusUnknown, with one restart more",
		Reference: "pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses",
		explains:  []Aspect{Reported}, fits: evictedAnyway,
	},
	{
		ID: "report-limit", What: "the kernel prints ten OOM reports in five seconds, those of other processes of the machine included",
		Reference: "mm/oom_kill.c, oom_kill_process",
		explains:  []Aspect{Found}, fits: subject("reports-suppressed"),
	},
}

// losesLog: the scenario is the control in which the log loses a line.
func losesLog(p *pair, _ *Difference) bool {
	return !slices.ContainsFunc(slices.Concat(p.old, p.new), func(r Run) bool {
		control := r.Record.Scenario.Control
		return control == nil || !control.LoseKernelLog
	})
}

// evictedAnyway: every run evicted the pod, and one side does not know how its
// container ended.
func evictedAnyway(p *pair, d *Difference) bool {
	const unknown = "ContainerStatusUnknown, exit code 137"
	if !hasValue(d.Old, unknown) && !hasValue(d.New, unknown) {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(p.old, p.new), func(r Run) bool {
		return !slices.Contains(evictions(r.Record.After), p.workload(d.Subject))
	})
}

// Lookup returns the known change of that ID, or one without an ID.
func Lookup(id string) Change {
	for _, c := range Known {
		if c.ID == id {
			return c
		}
	}
	return Change{}
}

// all wants every mark.
func all(marks ...func(*pair, *Difference) bool) func(*pair, *Difference) bool {
	return func(p *pair, d *Difference) bool {
		for _, mark := range marks {
			if !mark(p, d) {
				return false
			}
		}
		return true
	}
}

// file: the limit is one of these files; other aspects need no file.
func file(names ...string) func(*pair, *Difference) bool {
	return func(_ *pair, d *Difference) bool {
		return d.Aspect != Limit || slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(d.Subject, " "+name) })
	}
}

// subject: the subject begins with one of these.
func subject(prefixes ...string) func(*pair, *Difference) bool {
	return func(_ *pair, d *Difference) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(d.Subject, prefix) })
	}
}

// only: the aspect is the one given, or the subject is.
func only(a Aspect, name string) func(*pair, *Difference) bool {
	return func(_ *pair, d *Difference) bool { return d.Aspect == a || d.Subject == name }
}

// failure: every run that could not be finished says so in its error.
func failure(text string) func(*pair, *Difference) bool {
	return func(p *pair, _ *Difference) bool {
		return len(p.failures) > 0 && !slices.ContainsFunc(p.failures, func(err string) bool { return !strings.Contains(err, text) })
	}
}

func cgroup2(p *pair, _ *Difference) bool { return p.was[factCgroup] == "2" && p.is[factCgroup] == "2" }
func cgroup1(p *pair, _ *Difference) bool { return p.was[factCgroup] == "1" && p.is[factCgroup] == "1" }

func modelled(p *pair, d *Difference) bool { return p.modelAgrees(d) }

// machineIsNode: the scenario lets the whole machine run out.
func machineIsNode(p *pair, _ *Difference) bool {
	return !slices.ContainsFunc(slices.Concat(p.old, p.new), func(r Run) bool { return r.Record.Scenario.Node.Domain != qos.LevelGlobal })
}

// hasContainers: only a pod of several containers has a sidecar.
func hasContainers(_ *pair, d *Difference) bool { return strings.Contains(d.Subject, "/") }

func classChanged(p *pair, d *Difference) bool {
	return d.Aspect == QoSClass || slices.ContainsFunc(p.differences, func(c Difference) bool {
		return c.Aspect == QoSClass && p.workload(c.Subject) == p.workload(d.Subject)
	})
}

func hugePages(p *pair, d *Difference) bool {
	zero := record.Host{}.HugePages.Human()
	return p.was[factHuge] != zero && p.is[factHuge] != zero && (d.Aspect != Time || strings.HasPrefix(d.Subject, "eviction of "))
}

// ofGroupKill: what a kill of more or fewer processes of a container changes.
func ofGroupKill(p *pair, d *Difference) bool {
	return file("memory.oom.group")(p, d) && (d.Aspect != Time || strings.HasPrefix(d.Subject, "memory of ") || strings.HasPrefix(d.Subject, "restart of "))
}

// ofRestarts: what another wait before a restart changes. A claim about the
// restarted container is open as long as that waits, and never fails by it.
func ofRestarts(_ *pair, d *Difference) bool {
	switch d.Aspect {
	case Time:
		return strings.HasPrefix(d.Subject, "restart of ")
	case Claim:
		about := d.Subject == verdict.Scores || d.Subject == verdict.Restarted
		return about && !hasValue(d.Old, string(record.Fail)) && !hasValue(d.New, string(record.Fail))
	}
	return true
}

// unifiedOnly: the file exists in cgroup v2 only.
func unifiedOnly(p *pair, d *Difference) bool {
	return file("memory.oom.group", "memory.high", "memory.low", "memory.min", "memory.swap.max")(p, d)
}

// protectedVictims: the victims that the sides disagree on are protected, so
// that their badness is negative or was raised to 1.
func protectedVictims(p *pair, _ *Difference) bool {
	old, new, _ := p.disputed()
	return p.protected(old) && p.protected(new)
}

// protected reports that every process of the workload has a negative score.
func (p *pair) protected(workload string) bool {
	seen := false
	for _, r := range slices.Concat(p.old, p.new) {
		for _, s := range r.Record.Scores {
			if s.Owner.Workload == workload {
				if seen = true; s.Observed >= 0 {
					return false
				}
			}
		}
	}
	return seen
}

// killedAnyway: the end is the same but for the runtime's word for it, and the
// kernel's own log has the kill in every run.
func killedAnyway(p *pair, d *Difference) bool {
	if d.Aspect == Found {
		return d.Subject == "killed-but-reported-Error"
	}
	for _, v := range slices.Concat(d.Old.Values, d.New.Values) {
		if v.Value != "OOMKilled, exit code 137" && v.Value != "Error, exit code 137" {
			return false
		}
	}
	for _, r := range slices.Concat(p.old, p.new) {
		if !slices.ContainsFunc(r.Record.Kills, func(k record.Kill) bool {
			return k.Owner.String() == d.Subject && slices.Contains(k.Sources, "kmsg")
		}) {
			return false
		}
	}
	return true
}
