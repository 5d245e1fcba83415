package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// eachPod judges every pod of the workloads with check, which returns what is
// wrong with one, or else what it saw. Without a kubelet there is no answer.
func eachPod(r *record.Record, name string, workloads []string, check func(record.Pod) (problem, seen string)) (record.Claim, bool) {
	if len(workloads) == 0 {
		return record.Claim{}, false
	}
	if r.Node.NoKubelet != "" {
		return unsupported(name, r.Node.NoKubelet, "nobody reports on %s", strings.Join(workloads, ", ")), true
	}
	var evidence []string
	for _, workload := range workloads {
		pods := podsOf(r.After, workload)
		if len(pods) == 0 {
			return claim(name, record.Fail, "%s has no pod any more", workload), true
		}
		for _, p := range pods {
			problem, seen := check(p)
			if problem != "" {
				return claim(name, record.Fail, "pod %s %s", p.Name, problem), true
			}
			evidence = append(evidence, p.Name+": "+seen)
		}
	}
	c := claim(name, record.Pass, "%s", strings.Join(evidence, "; "))
	c.Evidence = evidence
	return c, true
}

// killedIn reports whether the kernel killed a process of the pod.
func killedIn(r *record.Record, p record.Pod) bool {
	return slices.ContainsFunc(r.Kills, func(k record.Kill) bool { return k.Owner.Pod == p.Name })
}

// completed: Succeeded with exit code 0, and yet the kernel killed there. The
// runtime's reason is OOMKilled all the same.
func completed(r *record.Record) (record.Claim, bool) {
	return eachPod(r, Completed, r.Scenario.Expect.Completed, func(p record.Pod) (problem, seen string) {
		switch {
		case p.Phase != "Succeeded":
			return "is " + p.Phase + ", not Succeeded", ""
		case !killedIn(r, p):
			return "ended well, and the kernel killed nobody there", ""
		}
		for _, c := range p.Containers {
			if c.Ended == nil || c.Ended.ExitCode != 0 || c.RestartCount > 0 {
				return "did not end with exit code 0 at the first go", ""
			}
			seen = fmt.Sprintf("Succeeded, exit code 0, reason %s, although the kernel killed a process there", c.Ended.Reason)
		}
		return "", seen
	})
}

// jobFailed: the Job's controller has made as many pods as it may, and the
// kernel killed in each.
func jobFailed(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.JobFailed
	return eachPod(r, JobFailed, want, func(p record.Pod) (problem, seen string) {
		i := slices.IndexFunc(r.Jobs, func(j record.Job) bool { return j.Workload == p.Workload })
		w, _ := r.Scenario.Workload(p.Workload)
		switch {
		case i < 0 || !r.Jobs[i].Failed:
			return "belongs to a Job that has not given up", ""
		case w.Job != nil && r.Jobs[i].FailedPods != int(w.Job.BackoffLimit)+1:
			return fmt.Sprintf("belongs to a Job with %d failed pods, not %d", r.Jobs[i].FailedPods, w.Job.BackoffLimit+1), ""
		case !killedIn(r, p):
			return "was not killed by the kernel", ""
		}
		return "", fmt.Sprintf("killed, and the Job failed with %s after %d pods", r.Jobs[i].Reason, r.Jobs[i].FailedPods)
	})
}

// startError is the reason of a container that the runtime could not start.
const startError = "StartError"

// neverStarts: the kernel kills what the runtime starts before it is the
// container's program.
func neverStarts(r *record.Record) (record.Claim, bool) {
	return eachPod(r, NeverStarts, r.Scenario.Expect.NeverStarts, func(p record.Pod) (problem, seen string) {
		if !killedIn(r, p) {
			return "was not killed by the kernel", ""
		}
		for _, c := range p.Containers {
			switch {
			case c.Running:
				return "runs", ""
			case c.Ended != nil && c.Ended.Reason != startError:
				return fmt.Sprintf("ran, and ended as %s", c.Ended.Reason), ""
			case c.Ended != nil:
				seen = fmt.Sprintf("%s, exit code %d, %d restarts", c.Ended.Reason, c.Ended.ExitCode, c.RestartCount)
			default:
				seen = cmp.Or(c.Waiting, "not there yet")
			}
		}
		return "", seen + ": the kernel killed it before it ran"
	})
}

// refused: the kubelet has not admitted the pod.
func refused(r *record.Record) (record.Claim, bool) {
	return eachPod(r, Refused, r.Scenario.Expect.Refused, func(p record.Pod) (problem, seen string) {
		if !p.Refused() {
			return fmt.Sprintf("is %s %s, and was not refused", p.Phase, p.Reason), ""
		}
		return "", strings.TrimSpace(p.Message)
	})
}

// admitted: the pod was made late, and runs.
func admitted(r *record.Record) (record.Claim, bool) {
	return eachPod(r, Admitted, r.Scenario.Expect.Admitted, func(p record.Pod) (problem, seen string) {
		if p.Phase != "Running" {
			return fmt.Sprintf("is %s: %s", p.Phase, p.Message), ""
		}
		return "", "admitted, and runs"
	})
}

// resizeRefused: the kubelet leaves the pod as it is, and says why.
func resizeRefused(r *record.Record) (record.Claim, bool) {
	return eachPod(r, ResizeRefused, r.Scenario.Expect.ResizeRefused, func(p record.Pod) (problem, seen string) {
		if p.Resize == "" {
			return "has no condition that tells of a resize", ""
		}
		return "", p.Resize
	})
}

// backOffSlack is what a restart may come late: the kubelet looks at a pod in
// back-off every ten seconds or so (backOffPeriod with a jitter of one half,
// pkg/kubelet/pod_workers.go), and starting takes its time. It counts from
// finishedAt, which is cut to the second, so that it may be early by that. A
// restart without back-off is not waited for.
const (
	backOffSlack = 20
	atOnceSlack  = 8
	backOffEarly = 1
)

// backOff: each restart comes as long after its kill as the kubelet should wait.
func backOff(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.BackOff
	if want == nil {
		return record.Claim{}, false
	}
	if r.Node.NoKubelet != "" {
		return unsupported(BackOff, r.Node.NoKubelet, "nobody restarts %s", want.Workload), true
	}
	var seen []string
	var restarts []float64
	for _, k := range r.Kills {
		if k.Owner.Workload == want.Workload && k.Owner.Level == qos.LevelContainer && k.RestartedAfterSeconds != nil {
			restarts = append(restarts, *k.RestartedAfterSeconds)
			seen = append(seen, fmt.Sprintf("%.1f s after kill %d", *k.RestartedAfterSeconds, k.Order))
		}
	}
	if len(restarts) < len(want.Delays) {
		return claim(BackOff, record.Fail, "%s was restarted %d times after a kill, not %d: %s", want.Workload, len(restarts), len(want.Delays), strings.Join(seen, ", ")), true
	}
	for i, d := range want.Delays {
		slack := float64(backOffSlack)
		if d.Duration == 0 {
			slack = atOnceSlack
		}
		if restarts[i] < d.Seconds()-backOffEarly || restarts[i] > d.Seconds()+slack {
			return claim(BackOff, record.Fail, "%s was restarted %s; restart %d was to come after %s", want.Workload, strings.Join(seen, ", "), i+1, d.Duration), true
		}
	}
	return claim(BackOff, record.Pass, "%s was restarted %s", want.Workload, strings.Join(seen, ", ")), true
}
