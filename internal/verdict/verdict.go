// Package verdict judges a run: it holds what was claimed, by the model and by
// the scenario, against what was seen, claim by claim. It only reads the run
// record, so that a verdict can be given again from the record alone.
package verdict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// The names of the claims. A negative control names the one that must fail.
const (
	Forecast        = "forecast"          // the kernel kills whom the model named, in that order
	Killed          = "killed"            // the scenario's order of first kills
	Survive         = "survive"           // no kill touches these
	Kills           = "kills"             // the exact number of kills
	FewestKills     = "fewest-kills"      // each victim was the largest
	OOMCgroup       = "oom-cgroup"        // the cgroups that the kernel names
	Scores          = "scores"            // oom_score_adj is what the formula says
	OOMScore        = "oom-score"         // /proc/PID/oom_score is what the formula says
	HighestOOMScore = "highest-oom-score" // the highest oom_score is not the victim's
	Restarted       = "restarted"         // in place, with the right reason
	Failed          = "failed"            // ended without a restart
	Evicted         = "evicted"           // by the kubelet, and by nobody else
	Completed       = "completed"         // ended well, although a process of theirs was killed
	JobFailed       = "job-failed"        // the Job has given up
	NeverStarts     = "never-starts"      // killed before it ran
	Refused         = "refused"           // not admitted by the kubelet
	Admitted        = "admitted"          // admitted by the kubelet, and running
	ResizeRefused   = "resize-refused"    // not resized by the kubelet
	LimitHit        = "limit-hit"         // the limit is reached, and memory reclaimed
	Thrashes        = "thrashes"          // what was reclaimed is read again
	BackOff         = "back-off"          // the times before the restarts
	Named           = "findings"          // the findings that the scenario expects
	Contained       = "contained"         // all kills are within what was to run out
	KubeletSurvives = "kubelet-survives"  // the node's daemons live through it
	Evidence        = "evidence"          // the sources saw everything and agree
	NeedsMet        = "needs"             // never passes: the machine lacks what the scenario needs
)

// judge gives the answer to one claim, and false if nobody made the claim.
type judge func(r *record.Record) (record.Claim, bool)

var judges = []judge{
	forecast, killed, survive, kills, fewestKills, oomCgroup, scores, oomScore, highestOOMScore,
	restarted, failed, completed, jobFailed, neverStarts, backOff, evicted, refused, admitted, resizeRefused,
	limitHit, thrashes, named, contained, kubeletSurvives, sources,
}

// Judge returns the answer to every claim, and the verdict on the whole run:
// fail if a claim failed, else inconclusive if one was, else pass if one
// passed, else unsupported.
func Judge(r *record.Record) ([]record.Claim, record.Verdict) {
	var claims []record.Claim
	for _, judge := range judges {
		if c, ok := judge(r); ok {
			claims = append(claims, c)
		}
	}
	for _, v := range []record.Verdict{record.Fail, record.Inconclusive, record.Pass} {
		if slices.ContainsFunc(claims, func(c record.Claim) bool { return c.Verdict == v }) {
			return claims, v
		}
	}
	return claims, record.Unsupported
}

// Unmet judges a run that can't be made, because this machine or its kubelet
// lacks what the scenario needs. It returns false where nothing is lacking. A
// kubelet of version 0 is not known yet.
func Unmet(s *scenarios.Scenario, host record.Host, kubelet qos.Version) (record.Claim, bool) {
	n := s.Needs
	kernel, err := oom.ParseVersion(host.Kernel)
	oldest := n.OldestKernel()
	missing := ""
	switch {
	case n.Cgroup != 0 && host.CgroupVersion != n.Cgroup:
		missing = fmt.Sprintf("cgroup v%d: the memory controller of this machine is v%d", n.Cgroup, host.CgroupVersion)
	case s.Node.Swap.Bytes > host.SwapTotal:
		missing = fmt.Sprintf("%s of swap: SwapTotal of this machine is %s", s.Node.Swap, host.SwapTotal.Human())
	case n.Kernel != "" && (err != nil || !kernel.AtLeast(oldest.Major, oldest.Minor)):
		missing = fmt.Sprintf("Linux %s: this is %s", oldest, host.Kernel)
	case kubelet != 0 && kubelet < n.OldestKubelet():
		missing = fmt.Sprintf("kubelet %s: this is %s", n.OldestKubelet(), kubelet)
	default:
		return record.Claim{}, false
	}
	return NotRun(missing), true
}

// NotRun judges a run that can't be made for lack of something.
func NotRun(missing string) record.Claim {
	return unsupported(NeedsMet, missing, "the scenario was not run")
}

func claim(name string, v record.Verdict, format string, args ...any) record.Claim {
	return record.Claim{Name: name, Verdict: v, Sentence: fmt.Sprintf(format, args...)}
}

// unsupported names what the host lacks before it says what that leaves open.
func unsupported(name, missing, format string, args ...any) record.Claim {
	c := claim(name, record.Unsupported, format, args...)
	c.Missing, c.Sentence = missing, missing+": "+c.Sentence
	return c
}

// needed returns the kills without those that came before the memory of the
// victim before was given back. Those are findings, and no choice between all
// candidates: the dying one holds memory and is none.
func needed(kills []record.Kill) []record.Kill {
	return slices.DeleteFunc(slices.Clone(kills), func(k record.Kill) bool { return k.Needless })
}

// needlessToo says in a sentence that there were such kills.
func needlessToo(kills []record.Kill) string {
	if n := len(kills) - len(needed(kills)); n > 0 {
		return fmt.Sprintf(" (and %d needlessly, see second-kill-before-release)", n)
	}
	return ""
}

// list writes names for a sentence.
func list(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", then ")
}

// killEvidence points at the kernel's own lines.
func killEvidence(kills []record.Kill) []string {
	var lines []string
	for _, k := range kills {
		lines = append(lines, fmt.Sprintf("kill %d: pid %d (%s) of %s, oom_score_adj %d, seen by %s",
			k.Order, k.PID, k.Name, k.Owner, k.OOMScoreAdj, strings.Join(k.Sources, " and ")))
	}
	return lines
}

func podsOf(pods []record.Pod, workload string) []record.Pod {
	var of []record.Pod
	for _, p := range pods {
		if p.Workload == workload {
			of = append(of, p)
		}
	}
	return of
}

func podByUID(pods []record.Pod, uid string) (record.Pod, bool) {
	for _, p := range pods {
		if p.UID == uid {
			return p, true
		}
	}
	return record.Pod{}, false
}
