package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/reconcile"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// scores: every oom_score_adj is what the kubelet's formula says, or a probe
// explains the difference; what is read inside the pod is what is seen outside.
func scores(r *record.Record) (record.Claim, bool) {
	if len(r.Scores) == 0 {
		return record.Claim{}, false
	}
	var evidence, explained []string
	matched := 0
	for _, s := range r.Scores {
		evidence = append(evidence, fmt.Sprintf("%s (%s, %s): formula %d, observed %d", s.Owner, s.QoSClass, s.When, s.Formula, s.Observed))
		switch {
		case s.InPod != nil && *s.InPod != s.Observed:
			return claim(Scores, record.Fail, "%s reads oom_score_adj %d inside the pod, outside it is %d", s.Owner, *s.InPod, s.Observed), true
		case s.Formula == s.Observed:
			matched++
		case s.Explained != "":
			explained = append(explained, fmt.Sprintf("%s has %d, not %d", s.Owner, s.Observed, s.Formula))
		default:
			c := claim(Scores, record.Fail, "%s (%s, %s) has oom_score_adj %d, the formula says %d", s.Owner, s.QoSClass, s.When, s.Observed, s.Formula)
			c.Evidence = evidence
			return c, true
		}
	}
	for _, name := range r.Scenario.Expect.Restarted {
		again := func(s record.Score) bool { return s.Owner.Workload == name && s.When == "restarted" }
		if r.Node.NoKubelet == "" && !slices.ContainsFunc(r.Scores, again) {
			return claim(Scores, record.Inconclusive, "the scores of %s were not read again after its restart", name), true
		}
	}
	c := claim(Scores, record.Pass, "all %d oom_score_adj are what the formula says", matched)
	if len(explained) > 0 {
		c = unsupported(Scores, r.Host.LowestAdjProof, "%s; the other %d are what the formula says", strings.Join(explained, ", "), matched)
	}
	c.Evidence = evidence
	return c, true
}

// oomScoreTolerance is for the memory that a process takes or gives between the
// reading of its rss and of its score.
const oomScoreTolerance = 1

func oomScore(r *record.Record) (record.Claim, bool) {
	if len(r.Scores) == 0 {
		return record.Claim{}, false
	}
	c := claim(OOMScore, record.Pass, "all %d /proc/PID/oom_score are what the kernel's formula says", len(r.Scores))
	for _, s := range r.Scores {
		c.Evidence = append(c.Evidence, fmt.Sprintf("%s (%s): formula %d, observed %d", s.Owner, s.When, s.OOMModel, s.OOMScore))
		observed := []int{s.OOMScore}
		if s.OOMInPod != nil {
			observed = append(observed, *s.OOMInPod)
		}
		for _, score := range observed {
			if score < s.OOMModel-oomScoreTolerance || score > s.OOMModel+oomScoreTolerance {
				c.Verdict = record.Fail
				c.Sentence = fmt.Sprintf("%s (%s) has oom_score %d, the kernel's formula says %d", s.Owner, s.When, score, s.OOMModel)
			}
		}
	}
	return c, true
}

func highestOOMScore(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.HighestOOMScore
	if want == "" {
		return record.Claim{}, false
	}
	var highest record.Score
	for _, s := range r.Scores {
		if s.When == "settled" && s.OOMScore > highest.OOMScore {
			highest = s
		}
	}
	switch {
	case highest.Owner.Workload != want:
		return claim(HighestOOMScore, record.Fail, "expected the highest oom_score to be %s's, it is %s's: %d", want, highest.Owner, highest.OOMScore), true
	case len(r.Kills) == 0:
		return claim(HighestOOMScore, record.Fail, "nobody was killed"), true
	case r.Kills[0].Owner.Workload == want:
		return claim(HighestOOMScore, record.Fail, "%s has the highest oom_score, %d, and was the first victim", want, highest.OOMScore), true
	}
	return claim(HighestOOMScore, record.Pass, "%s has the highest oom_score, %d, yet the kernel killed %s first: oom_score is computed with the host's memory, badness with that of the cgroup that ran out",
		want, highest.OOMScore, r.Kills[0].Owner), true
}

// restarted: in place, for the right reason. The kernel's kill is asserted too:
// a reason without one would prove nothing.
func restarted(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.Restarted
	if len(want) == 0 {
		return record.Claim{}, false
	}
	if r.Node.NoKubelet != "" {
		return unsupported(Restarted, r.Node.NoKubelet, "nobody restarts %s", strings.Join(want, ", ")), true
	}
	c := claim(Restarted, record.Pass, "restarted in place (same UID, same node) after an OOM kill, exit code 137: %s", strings.Join(want, ", "))
	var again []string
	for _, name := range want {
		for _, before := range podsOf(r.Before, name) {
			after, ok := podByUID(r.After, before.UID)
			if !ok {
				return claim(Restarted, record.Fail, "pod %s is gone: it was replaced, not restarted", before.Name), true
			}
			if problem := restartProblem(before, after, r.Kills); problem != "" {
				return claim(Restarted, record.Fail, "%s %s", before.Name, problem), true
			}
			for _, container := range after.Containers {
				c.Evidence = append(c.Evidence, fmt.Sprintf("%s/%s: restartCount %d, reason %s", after.Name, container.Name, container.RestartCount, reasonOf(container)))
				if reasonOf(container) == startError {
					again = append(again, after.Name)
				}
			}
		}
	}
	if len(again) > 0 {
		c.Sentence += fmt.Sprintf(" (and again after a needless kill of what was being started, which is a StartError: %s)", strings.Join(again, ", "))
	}
	return c, true
}

func reasonOf(c record.Container) string {
	if c.Ended == nil {
		return "none"
	}
	return c.Ended.Reason
}

func restartProblem(before, after record.Pod, kills []record.Kill) string {
	if after.Node != before.Node {
		return fmt.Sprintf("moved from node %s to %s", before.Node, after.Node)
	}
	for i, c := range after.Containers {
		killed := slices.ContainsFunc(kills, func(k record.Kill) bool { return k.Owner.Pod == after.Name && k.Owner.Container == c.Name })
		if !killed {
			continue
		}
		if c.Done() { // it ended for the second time, well
			c.Ended, c.Running = c.Previous, true
		}
		switch {
		case i >= len(before.Containers) || c.RestartCount <= before.Containers[i].RestartCount:
			return "was not restarted"
		case !c.Running:
			return "was restarted and does not run"
		case c.Ended == nil:
			return "was restarted, and its runtime doesn't say why"
		case c.Ended.Reason == startError && killedAtStart(c, after.Name, kills):
		case c.Ended.ExitCode != 137:
			return fmt.Sprintf("ended with exit code %d, not 137", c.Ended.ExitCode)
		case c.Ended.Reason != "OOMKilled" && !reportedError(c, after.Name, kills):
			return fmt.Sprintf("was killed by the OOM killer, and its runtime says %q", c.Ended.Reason)
		}
	}
	if !slices.ContainsFunc(kills, func(k record.Kill) bool { return k.Owner.Pod == after.Name }) {
		return "was not killed by the kernel"
	}
	return ""
}

// reportedError: the kernel's log has the kill, and the runtime says Error. It
// reads the counter of the container's cgroup after the container has ended, and
// may come too late (containerd#8893): a finding, whose name is
// killed-but-reported-Error. Without the kernel's kill it would be no OOM at all.
func reportedError(c record.Container, pod string, kills []record.Kill) bool {
	return c.Ended.Reason == "Error" && slices.ContainsFunc(kills, func(k record.Kill) bool {
		return k.Owner.Pod == pod && k.Owner.Container == c.Name && fromKernel(k)
	})
}

// killedAtStart: the container was killed for its memory, and killed once more,
// needlessly, while it was being started again. The runtime tells of the last
// end alone.
func killedAtStart(c record.Container, pod string, kills []record.Kill) bool {
	var before, needless bool
	for _, k := range kills {
		if k.Owner.Pod == pod && k.Owner.Container == c.Name && fromKernel(k) {
			before, needless = before || !k.Needless, needless || before && k.Needless
		}
	}
	return needless
}

// fromKernel: the log or the trace has it, not just a counter.
func fromKernel(k record.Kill) bool {
	return slices.Contains(k.Sources, reconcile.Kmsg) || slices.Contains(k.Sources, reconcile.Trace)
}

func failed(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.Failed
	if len(want) == 0 {
		return record.Claim{}, false
	}
	if r.Node.NoKubelet != "" {
		return unsupported(Failed, r.Node.NoKubelet, "nobody reports the end of %s", strings.Join(want, ", ")), true
	}
	for _, name := range want {
		for _, before := range podsOf(r.Before, name) {
			after, ok := podByUID(r.After, before.UID)
			switch {
			case !ok:
				return claim(Failed, record.Fail, "pod %s is gone", before.Name), true
			case after.Phase != "Failed":
				return claim(Failed, record.Fail, "pod %s is %s, not Failed", after.Name, after.Phase), true
			case after.Evicted():
				return claim(Failed, record.Fail, "pod %s was evicted, not killed", after.Name), true
			}
			for i, c := range after.Containers {
				if c.RestartCount != before.Containers[i].RestartCount {
					return claim(Failed, record.Fail, "pod %s was restarted", after.Name), true
				}
				if c.Ended == nil || c.Ended.ExitCode != 137 || c.Ended.Reason != "OOMKilled" && !reportedError(c, after.Name, r.Kills) {
					return claim(Failed, record.Fail, "pod %s did not end as OOMKilled with exit code 137", after.Name), true
				}
			}
		}
	}
	return claim(Failed, record.Pass, "ended for good by an OOM kill, exit code 137, not restarted: %s", strings.Join(want, ", ")), true
}

// evicted: by the kubelet, while the kernel killed nobody.
func evicted(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.Evicted
	if len(want) == 0 {
		return record.Claim{}, false
	}
	if r.Node.NoKubelet != "" {
		return unsupported(Evicted, r.Node.NoKubelet, "nobody evicts %s", strings.Join(want, ", ")), true
	}
	var got []string
	c := claim(Evicted, record.Pass, "evicted under MemoryPressure, and the kernel killed nobody: %s", strings.Join(want, ", "))
	for _, p := range r.After {
		if p.Evicted() && !slices.Contains(got, p.Workload) {
			got = append(got, p.Workload)
			c.Evidence = append(c.Evidence, p.Name+": "+cmp.Or(p.Message, p.Terminated))
		}
	}
	switch {
	case len(r.Kills) > 0:
		c = claim(Evicted, record.Fail, "the kernel was faster and killed %s", r.Kills[0].Owner)
	case !slices.Equal(got, want):
		c = claim(Evicted, record.Fail, "expected evictions: %s; seen: %s", list(want), list(got))
	case !slices.Contains(r.Conditions, "MemoryPressure"):
		c = claim(Evicted, record.Fail, "the node never reported MemoryPressure")
	}
	return c, true
}

func kubeletSurvives(r *record.Record) (record.Claim, bool) {
	if r.Node.NoKubelet != "" {
		return record.Claim{}, false
	}
	before, after := r.DaemonsBefore, r.DaemonsAfter
	intended := slices.ContainsFunc(r.Scenario.Meanwhile, func(a scenarios.Action) bool { return a.RestartKubelet })
	problem := ""
	switch {
	case intended && after.KubeletPID == before.KubeletPID:
		problem = "the kubelet was to be restarted, and was not"
	case intended:
	case after.KubeletPID != before.KubeletPID || after.KubeletStarted != before.KubeletStarted || after.KubeletRestarts != before.KubeletRestarts:
		problem = fmt.Sprintf("the kubelet was restarted: pid %d, NRestarts %d before; pid %d, NRestarts %d after",
			before.KubeletPID, before.KubeletRestarts, after.KubeletPID, after.KubeletRestarts)
	}
	switch {
	case problem != "":
	case !after.Ready:
		problem = "the node is not Ready"
	case after.OtherRestarts != before.OtherRestarts:
		problem = fmt.Sprintf("system pods were restarted: %d times before, %d after", before.OtherRestarts, after.OtherRestarts)
	case after.FreshPod == nil || !*after.FreshPod:
		problem = "no fresh pod started after the pressure"
	}
	if problem != "" {
		return claim(KubeletSurvives, record.Fail, "%s", problem), true
	}
	if intended {
		return claim(KubeletSurvives, record.Pass, "the kubelet was restarted as intended, the node is Ready, and a fresh pod started"), true
	}
	return claim(KubeletSurvives, record.Pass, "the kubelet kept pid %d and NRestarts %d, the node is Ready, and a fresh pod started",
		after.KubeletPID, after.KubeletRestarts), true
}
