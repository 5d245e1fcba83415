package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/reconcile"
	"github.com/oomlab/oomlab/internal/record"
)

// Matched goes through the kills and the steps of the forecast together, and
// returns how many steps came true, and the first kill that nobody expected: it
// was neither the next step nor needless, nor, after the last step, what came in
// the place of a victim. A rival in a tie or within the counters'
// error is as good as the one named. A needless kill may be the next step, early.
func Matched(r *record.Record, kills []record.Kill) (steps int, surprise *record.Kill) {
	if r.Forecast == nil {
		return 0, nil
	}
	all := r.Forecast.Steps
	for i, k := range kills {
		again := func(before record.Kill) bool { return inPlaceOf(r, before.Owner, k.Owner) }
		switch {
		case i > 0 && k.Group && k.Decision == kills[i-1].Decision: // it dies with the one that was chosen
		case steps < len(all) && slices.ContainsFunc(legalVictims(all[steps]), func(pid int) bool { return isVictim(r, pid, k) }):
			steps++
		case k.Needless:
		case steps == len(all) && slices.ContainsFunc(kills[:i], again):
		default:
			return steps, &kills[i]
		}
	}
	return steps, nil
}

// inPlaceOf reports whether now has come in the place of a victim: the same
// container, restarted; what the runtime starts for it, which has no name before
// it runs; or the next pod of its Job.
func inPlaceOf(r *record.Record, victim, now record.Owner) bool {
	w, _ := r.Scenario.Workload(victim.Workload)
	return victim.Workload != "" && victim.Workload == now.Workload &&
		(victim.Pod == now.Pod || w.Job != nil) &&
		(victim.Container == now.Container || now.Container == "")
}

func legalVictims(s oom.Step) []int { return append([]int{s.Victim}, s.Rivals...) }

// forecast: the kernel kills whom the model names, as many as the scenario waits
// for, and nobody else. Where it waits for evictions, too, these may come first
// and leave nobody to kill.
func forecast(r *record.Record) (record.Claim, bool) {
	if r.Forecast == nil {
		return record.Claim{}, false
	}
	steps := r.Forecast.Steps
	matched, surprise := Matched(r, r.Kills)
	problem := ""
	switch until := r.Scenario.Until; {
	case surprise != nil && matched == len(steps):
		problem = fmt.Sprintf("nobody was expected to die after %d kills, and kill %d was %s", len(steps), surprise.Order, surprise.Owner)
	case surprise != nil:
		problem = fmt.Sprintf("kill %d was expected to be %s, and was %s", surprise.Order, ownersOf(r, legalVictims(steps[matched])), surprise.Owner)
	case matched < len(steps) && evictedInTime(r):
		steps = steps[:matched]
	case matched < len(steps):
		problem = fmt.Sprintf("the model expected %d kills, the kernel made %d", len(steps), matched)
	case len(r.Kills) < until.Kills && until.Evictions == 0:
		problem = fmt.Sprintf("%d processes were to be killed, and %d were: %s", until.Kills, len(r.Kills), r.Forecast.End)
	}
	if problem != "" {
		c := claim(Forecast, record.Fail, "%s", problem)
		c.Evidence = killEvidence(r.Kills)
		return c, true
	}
	var named []string
	doubtful := 0
	for _, step := range steps {
		named = append(named, r.Owners[step.Victim].String())
		if step.Outcome != oom.OutcomeVictim {
			doubtful++
		}
	}
	if len(steps) == 0 {
		return claim(Forecast, record.Pass, "pods were evicted before the kernel had to kill"), true
	}
	c := claim(Forecast, record.Pass, "the kernel killed whom the model named, and nobody else: %s%s", list(named), needlessToo(r.Kills))
	if doubtful > 0 {
		c.Sentence += fmt.Sprintf(" (%d by a tie or within the error of the kernel's counters)", doubtful)
	}
	c.Evidence = killEvidence(r.Kills)
	return c, true
}

// evictedInTime reports whether the pressure may have ended with an eviction.
func evictedInTime(r *record.Record) bool {
	return r.Scenario.Until.Evictions > 0 && slices.ContainsFunc(r.After, record.Pod.Evicted)
}

// isVictim: the forecast names processes of the snapshot. One that was killed
// and restarted since has another pid, and is the same victim.
func isVictim(r *record.Record, pid int, k record.Kill) bool {
	owner, known := r.Owners[pid]
	return k.PID == pid || known && owner.Workload != "" && owner == k.Owner
}

func ownersOf(r *record.Record, pids []int) string {
	var names []string
	for _, pid := range pids {
		names = append(names, r.Owners[pid].String())
	}
	return strings.Join(names, " or ")
}

func killed(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.Killed
	if len(want) == 0 {
		return record.Claim{}, false
	}
	name := func(k record.Kill) string { return r.Scenario.Expect.Name(k.Owner.Workload, k.Owner.Container) }
	var got []string
	for _, k := range r.Kills {
		switch who := name(k); {
		case k.Needless && !slices.Contains(want, who):
		case k.Owner.Workload == "":
			got = append(got, k.Owner.String()) // by its level: "the node cgroup"
		case !slices.Contains(got, who):
			got = append(got, who)
		}
	}
	if !slices.Equal(got, want) {
		c := claim(Killed, record.Fail, "expected kills: %s; seen: %s", list(want), list(got))
		c.Evidence = killEvidence(r.Kills)
		return c, true
	}
	c := claim(Killed, record.Pass, "killed in this order, and nobody else: %s%s", list(got), needlessToo(r.Kills))
	c.Evidence = killEvidence(r.Kills)
	return c, true
}

// survive: no kill that was needed touches these, and nothing else ends them. A
// needless kill is a finding, as everywhere: it was no choice between all.
func survive(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.Survive
	if len(want) == 0 {
		return record.Claim{}, false
	}
	var untouched, needless []string
	for _, name := range want {
		kills := killsOf(r.Kills, name)
		if chosen := needed(kills); len(chosen) > 0 {
			return claim(Survive, record.Fail, "%s was to survive and was killed (kill %d)", name, chosen[0].Order), true
		}
		if len(kills) > 0 {
			needless = append(needless, name)
			continue
		}
		if problem := endedAnyway(r, name); problem != "" {
			return claim(Survive, record.Fail, "%s", problem), true
		}
		untouched = append(untouched, name)
	}
	c := claim(Survive, record.Pass, "untouched: %s", cmp.Or(strings.Join(untouched, ", "), "nobody"))
	if len(needless) > 0 {
		c.Sentence += fmt.Sprintf("; killed needlessly, see second-kill-before-release: %s", strings.Join(needless, ", "))
	}
	return c, true
}

// killsOf returns the kills in WORKLOAD or WORKLOAD/CONTAINER.
func killsOf(kills []record.Kill, name string) []record.Kill {
	workload, single, _ := strings.Cut(name, "/")
	return slices.DeleteFunc(slices.Clone(kills), func(k record.Kill) bool {
		return k.Owner.Workload != workload || single != "" && k.Owner.Container != single
	})
}

// endedAnyway says what became of WORKLOAD or WORKLOAD/CONTAINER, if it does not
// run as before.
func endedAnyway(r *record.Record, name string) string {
	workload, single, _ := strings.Cut(name, "/")
	for _, before := range podsOf(r.Before, workload) {
		after, ok := podByUID(r.After, before.UID)
		if !ok {
			return fmt.Sprintf("pod %s was to survive and is not there any more", before.Name)
		}
		for i, c := range after.Containers {
			if single != "" && c.Name != single {
				continue
			}
			if i < len(before.Containers) && c.RestartCount != before.Containers[i].RestartCount || !c.Running && !c.Done() {
				return fmt.Sprintf("%s was to survive, but its container %s ended", before.Name, c.Name)
			}
		}
	}
	return ""
}

func kills(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect.Kills
	if want == nil {
		return record.Claim{}, false
	}
	if seen := len(needed(r.Kills)); seen != *want {
		c := claim(Kills, record.Fail, "expected %d kills, seen %d", *want, seen)
		c.Evidence = killEvidence(r.Kills)
		return c, true
	}
	return claim(Kills, record.Pass, "exactly %d processes were killed%s", *want, needlessToo(r.Kills)), true
}

// fewestKills: what the victim freed is more than any other process could have.
func fewestKills(r *record.Record) (record.Claim, bool) {
	if !r.Scenario.Expect.FewestKills {
		return record.Claim{}, false
	}
	if len(r.Kills) == 0 {
		return claim(FewestKills, record.Fail, "nobody was killed"), true
	}
	victim := r.Kills[0]
	page := r.Snapshot.Kernel.PageSize
	smaller := 0
	for _, t := range r.Snapshot.Tasks {
		owner := r.Owners[t.PID]
		if owner.Level != qos.LevelContainer || t.PID == victim.PID {
			continue
		}
		if w, _ := r.Scenario.Workload(owner.Workload); w.Press != "" {
			continue // it grew after the snapshot; the forecast has its size
		}
		if t.RSS().Bytes(page) >= victim.Freed {
			return claim(FewestKills, record.Fail, "%s held %s, more than the victim's %s", owner, t.RSS().Bytes(page).Human(), victim.Freed.Human()), true
		}
		smaller++
	}
	return claim(FewestKills, record.Pass, "one kill freed %s, more than any of the %d others held", victim.Freed.Human(), smaller), true
}

func oomCgroup(r *record.Record) (record.Claim, bool) {
	want := r.Scenario.Expect
	if want.OOMCgroup == "" && want.TaskCgroup == "" {
		return record.Claim{}, false
	}
	if len(r.Kills) == 0 {
		return claim(OOMCgroup, record.Fail, "nobody was killed"), true
	}
	for _, k := range r.Kills {
		if missing := logMissing(r); missing != "" {
			return unsupported(OOMCgroup, missing, "what ran out is in the kernel's log alone"), true
		}
		if k.Report == nil {
			return claim(OOMCgroup, record.Inconclusive, "the kernel's report of kill %d was withheld by its rate limit", k.Order), true
		}
		if want.OOMCgroup != "" && k.OOMLevel != want.OOMCgroup {
			return claim(OOMCgroup, record.Fail, "kill %d: oom_memcg is the %s cgroup, expected the %s: %s", k.Order, k.OOMLevel, want.OOMCgroup, k.OOMCgroup), true
		}
		if want.TaskCgroup != "" && k.Owner.Level != want.TaskCgroup {
			return claim(OOMCgroup, record.Fail, "kill %d: task_memcg is the %s cgroup, expected the %s: %s", k.Order, k.Owner.Level, want.TaskCgroup, k.TaskCgroup), true
		}
	}
	k := r.Kills[0]
	c := claim(OOMCgroup, record.Pass, "oom_memcg is the %s cgroup, task_memcg the %s", k.OOMLevel, k.Owner.Level)
	c.Evidence = []string{"oom_memcg=" + k.OOMCgroup, "task_memcg=" + k.TaskCgroup}
	if k.OOMLevel == qos.LevelGlobal {
		c.Sentence = fmt.Sprintf("the whole machine ran out, task_memcg is the %s cgroup", k.Owner.Level)
		c.Evidence[0] = "global_oom"
	}
	return c, true
}

// contained: nobody outside of what was to run out is touched.
func contained(r *record.Record) (record.Claim, bool) {
	for _, k := range r.Kills {
		if r.Scenario.Node.Domain != qos.LevelNode && k.Owner.Workload == "" {
			return claim(Contained, record.Fail, "kill %d took %s (%s), which is no workload's", k.Order, k.Owner, k.Name), true
		}
		if k.OOMLevel != "" && !withinDomain(r.Scenario.Node.Domain, k.OOMLevel) {
			return claim(Contained, record.Fail, "kill %d: the %s cgroup ran out, the scenario is about the %s", k.Order, k.OOMLevel, r.Scenario.Node.Domain), true
		}
	}
	if r.Scenario.Node.Domain == qos.LevelGlobal {
		return claim(Contained, record.Pass, "every kill was a workload's"), true
	}
	return claim(Contained, record.Pass, "every kill was within the %s cgroup", r.Scenario.Node.Domain), true
}

// withinDomain: a pod's or container's own limit is within kubepods, and that
// within the node.
func withinDomain(domain, level qos.Level) bool {
	order := []qos.Level{qos.LevelContainer, qos.LevelPod, qos.LevelClass, qos.LevelKubepods, qos.LevelNode, qos.LevelGlobal}
	outer := slices.Index(order, domain)
	if domain == qos.LevelContainer {
		outer = slices.Index(order, qos.LevelPod) // a pod's only container shares its limit
	}
	inner := slices.Index(order, level)
	return inner >= 0 && inner <= outer
}

// logMissing says why the kernel's log could not be read, if it could not.
func logMissing(r *record.Record) string {
	for _, s := range r.Sources {
		if s.Name == reconcile.Kmsg {
			return s.Error
		}
	}
	return ""
}

func sources(r *record.Record) (record.Claim, bool) {
	for _, f := range r.Findings {
		if f.Name == "kill-missed-by-kmsg" {
			return claim(Evidence, record.Fail, "%s: %s", f.Name, f.Text), true
		}
	}
	for _, s := range r.Sources {
		if s.Lost > 0 {
			return claim(Evidence, record.Inconclusive, "%s lost %d records while the scenario ran", s.Name, s.Lost), true
		}
	}
	if missing := logMissing(r); missing != "" {
		return unsupported(Evidence, missing, "only the cgroups' counters and the processes that are gone tell of %d kills", len(r.Kills)), true
	}
	var names []string
	for _, s := range r.Sources {
		if s.Error == "" && s.Name != reconcile.Scores {
			names = append(names, s.Name)
		}
	}
	return claim(Evidence, record.Pass, "%s lost nothing and agree on %d kills", strings.Join(names, ", "), len(r.Kills)), true
}
