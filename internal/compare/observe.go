package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// Aspect is one kind of behaviour.
type Aspect string

// The aspects, causes before consequences.
const (
	Scenario Aspect = "scenario"           // what was run
	Finished Aspect = "run"                // whether it could be finished
	Setting  Aspect = "kubelet setting"    // as the kubelet says itself
	Limit    Aspect = "limit"              // files of the memory cgroups
	QoSClass Aspect = "qos class"          //
	Score    Aspect = "oom_score_adj"      // and what the formula says
	OOMScore Aspect = "oom_score"          // a number
	Forecast Aspect = "forecast"           // whom the model names
	Victims  Aspect = "victims"            // in the order of their first kill
	Domain   Aspect = "what ran out"       // oom_memcg, by its level
	Decision Aspect = "kills per decision" // of the kernel
	Needless Aspect = "needless kills"     // see second-kill-before-release
	Held     Aspect = "memory held"        // by a victim; a number
	Evicted  Aspect = "evictions"          // in their order
	Reported Aspect = "reported end"       // reason and exit code
	Restarts Aspect = "restarts"           //
	Pod      Aspect = "pod"                // its phase at the end
	Seen     Aspect = "condition"          // of the node, while memory ran out
	Log      Aspect = "kernel report"      // its format, which log readers rely on
	Found    Aspect = "finding"            //
	Claim    Aspect = "claim"              // and its verdict
	Time     Aspect = "time"               // a number
)

var aspects = []Aspect{
	Scenario, Finished, Setting, Limit, QoSClass, Score, OOMScore, Forecast, Victims, Domain, Decision, Needless, Held,
	Evicted, Reported, Restarts, Pod, Seen, Log, Found, Claim, Time,
}

// recordedLater reports that records made by an earlier oomlab, or in a lab
// without a kubelet, have nothing of this aspect.
func (a Aspect) recordedLater() bool { return a == Setting || a == Limit }

// observed is called with everything that one run shows.
type observed struct {
	word   func(a Aspect, subject, value string)
	number func(a Aspect, subject string, value float64, u unit)
}

// observe tells what a run shows. A run that could not be finished shows that
// and nothing more.
func observe(r *record.Record, o observed) {
	if r.Error != "" {
		o.word(Finished, "", "could not be finished")
		return
	}
	o.word(Finished, "", "finished")
	for name, value := range r.Node.Settings {
		o.word(Setting, name, value)
	}
	for _, l := range r.Limits {
		observeLimit(l, o)
	}
	observeScores(r, o)
	observeKills(r, o)
	observePods(r, o)
	for _, c := range r.Conditions {
		o.word(Seen, c, "reported")
	}
	found := map[string]bool{} // a run has it, however often
	for _, f := range r.Findings {
		found[f.Name] = true
	}
	for name := range found {
		o.word(Found, name, "found")
	}
	for _, c := range r.Claims {
		o.word(Claim, c.Name, string(c.Verdict))
	}
	observeTimes(r, o)
}

// observeLimit tells the files of one cgroup, in cgroup v2's words.
func observeLimit(l record.Limit, o observed) {
	name := l.Owner.String()
	switch l.Owner.Level {
	case qos.LevelKubepods:
		name = "kubepods"
	case qos.LevelClass:
		name = "all " + l.QoSClass + " pods"
	case qos.LevelPod:
		name = "pod " + name
	}
	formula := files(l.Formula)
	for file, value := range files(l.Observed) {
		if value != formula[file] {
			value += byFormula(formula[file])
		}
		o.word(Limit, name+" "+file, value)
	}
}

// formulaMark begins what follows a value that is not what the formula says.
const formulaMark = " (formula: "

func byFormula(value any) string { return fmt.Sprintf("%s%v)", formulaMark, value) }

func files(l qos.Limits) map[string]string {
	group := "0"
	if l.OOMGroup {
		group = "1"
	}
	return map[string]string{
		"memory.max": limitText(l.Max, "max"), "memory.high": limitText(l.High, "max"),
		"memory.low": limitText(l.Low, "0"), "memory.min": limitText(l.Min, "0"),
		"memory.swap.max": limitText(l.Swap, "max"), "memory.oom.group": group,
	}
}

func limitText(l mem.Limit, usual string) string {
	if b, ok := l.Bytes(); ok {
		return b.String()
	}
	return usual
}

func observeScores(r *record.Record, o observed) {
	for _, s := range r.Scores {
		if s.When != "settled" {
			continue // a restart is a new chance for the same: the claim "scores" has it
		}
		subject := s.Owner.String()
		value := fmt.Sprint(s.Observed)
		if s.Observed != s.Formula {
			value += byFormula(s.Formula)
		}
		o.word(Score, subject, value)
		o.word(QoSClass, subject, s.QoSClass)
		o.number(OOMScore, subject, float64(s.OOMScore), points)
	}
	if r.Forecast != nil {
		o.word(Forecast, "", inOrder(forecast(r)))
	}
}

// forecast returns whom the model named, in their order, and how sure it was;
// nobody where there is no forecast.
func forecast(r *record.Record) []string {
	if r.Forecast == nil {
		return nil
	}
	var steps []string
	for _, step := range r.Forecast.Steps {
		name := nameOf(r.Owners[step.Victim])
		if step.Outcome != oom.OutcomeVictim {
			name += " (" + string(step.Outcome) + ")"
		}
		steps = append(steps, name)
	}
	return steps
}

func observeKills(r *record.Record, o observed) {
	var order []string
	kills := meant(r)
	for i, k := range kills {
		name := nameOf(k.Owner)
		if slices.Contains(order, name) {
			continue
		}
		order = append(order, name)
		if k.OOMLevel != "" {
			o.word(Domain, name, string(k.OOMLevel))
		}
		o.word(Decision, name, decisionText(kills[i:]))
		o.number(Held, name, float64(k.Freed), bytes)
	}
	// One kernel prints all its reports alike.
	if i := slices.IndexFunc(r.Kills, func(k record.Kill) bool { return k.Report != nil && len(k.Report.Columns) > 0 }); i >= 0 {
		o.word(Log, "columns of the task table", strings.Join(r.Kills[i].Report.Columns, " "))
	}
	o.word(Victims, "", inOrder(order))
	o.word(Needless, "", fmt.Sprint(len(r.Kills)-len(kills)))
}

// decisionText tells how many processes died by the first of these kills.
func decisionText(kills []record.Kill) string {
	n := 1
	for n < len(kills) && kills[n].Group && kills[n].OOMCgroup == kills[0].OOMCgroup && kills[n].TaskCgroup == kills[0].TaskCgroup {
		n++
	}
	text := "1 process"
	if n > 1 {
		text = fmt.Sprintf("%d processes", n)
	}
	if kills[0].Group {
		text += " by memory.oom.group"
	}
	return text
}

// meant returns the kills without those that were needless and that the
// scenario does not provide for: which process they take is a matter of
// milliseconds.
func meant(r *record.Record) []record.Kill {
	return slices.DeleteFunc(slices.Clone(r.Kills), func(k record.Kill) bool { return stray(r, k) })
}

func stray(r *record.Record, k record.Kill) bool {
	if !k.Needless || slices.Contains(r.Scenario.Expect.Killed, k.Owner.Workload) {
		return false
	}
	return r.Forecast == nil || !slices.ContainsFunc(r.Forecast.Steps, func(s oom.Step) bool {
		return r.Owners[s.Victim] == k.Owner
	})
}

// killedAgain reports that the kernel killed a container needlessly after it had
// killed it before: how often that is restarted, and when, is chance then.
func killedAgain(r *record.Record, pod, container string) bool {
	before := false
	for _, k := range r.Kills {
		if k.Owner.Pod != pod || k.Owner.Container != container {
			continue
		}
		if before && k.Needless {
			return true
		}
		before = true
	}
	return false
}

// unanswered reports that the run was over before the kubelet had restarted the
// container, or left it: nobody waited for that.
func unanswered(p record.Pod, c record.Container) bool {
	return p.Phase == "Running" && !c.Running && c.Ended != nil
}

func observePods(r *record.Record, o observed) {
	alike := copies{}
	for _, p := range r.After {
		w, _ := r.Scenario.Workload(p.Workload)
		word := o.word
		if w.Replicas > 1 {
			word = alike.word(p)
		}
		if slices.ContainsFunc(r.Kills, func(k record.Kill) bool { return k.Owner.Pod == p.Name && stray(r, k) }) {
			alike.spoil(p.Workload)
			continue // what became of it says nothing about the scenario
		}
		phase := p.Phase
		if p.Reason != "" {
			phase += " (" + p.Reason + ")"
		}
		word(Pod, p.Name, phase)
		for _, c := range p.Containers {
			subject := record.Owner{Workload: p.Workload, Pod: p.Name, Container: c.Name}.String()
			end := unended
			if c.Ended != nil {
				end = fmt.Sprintf("%s, exit code %d", c.Ended.Reason, c.Ended.ExitCode)
			}
			word(Reported, subject, end)
			if r.Node.NoKubelet == "" && !killedAgain(r, p.Name, c.Name) && !unanswered(p, c) {
				word(Restarts, subject, fmt.Sprint(c.RestartCount))
			}
		}
	}
	alike.tell(o)
	if r.Node.NoKubelet == "" {
		o.word(Evicted, "", inOrder(evictions(r.After)))
	}
}

// copies collects what is observed of pods that are each other's copies: which
// of them it happens to is chance. By workload, what, and whose it is.
type copies map[string]map[copyWord][]string

type copyWord struct {
	aspect  Aspect
	subject string
}

// word collects for a pod.
func (all copies) word(p record.Pod) func(Aspect, string, string) {
	return func(a Aspect, subject, value string) {
		words, known := all[p.Workload]
		if !known {
			words = map[copyWord][]string{}
			all[p.Workload] = words
		}
		if words != nil {
			key := copyWord{a, strings.Replace(subject, p.Name, "the pods of "+p.Workload, 1)}
			words[key] = append(words[key], value)
		}
	}
}

// spoil forgets a workload of which one pod says nothing.
func (all copies) spoil(workload string) { all[workload] = nil }

// tell says how often each value came, of what is known of every copy.
func (all copies) tell(o observed) {
	for _, words := range all {
		pods := 0
		for _, values := range words {
			pods = max(pods, len(values))
		}
		for key, values := range words {
			if len(values) == pods {
				o.word(key.aspect, key.subject, counted(values))
			}
		}
	}
}

// counted tells how often each value is there, in their order.
func counted(values []string) string {
	var text []string
	for values = slices.Sorted(slices.Values(values)); len(values) > 0; {
		n := 1
		for n < len(values) && values[n] == values[0] {
			n++
		}
		text = append(text, fmt.Sprintf("%d× %s", n, values[0]))
		values = values[n:]
	}
	return strings.Join(text, "; ")
}

// unended is the reported end of a container that has not ended.
const unended = "none"

// evictions returns the evicted workloads in their order. The kubelet evicts
// one pod in a pass of ten seconds, so that a resolution of a second suffices.
func evictions(pods []record.Pod) []string {
	evicted := slices.DeleteFunc(slices.Clone(pods), func(p record.Pod) bool { return p.Reason != "Evicted" })
	slices.SortStableFunc(evicted, func(a, b record.Pod) int {
		x, y := ended(a), ended(b)
		if x == nil || y == nil {
			return 0
		}
		return x.Compare(*y)
	})
	var names []string
	for _, p := range evicted {
		if !slices.Contains(names, p.Workload) {
			names = append(names, p.Workload)
		}
	}
	return names
}

// nameOf is the workload, or what else a process belongs to.
func nameOf(o record.Owner) string {
	if o.Workload != "" {
		return o.Workload
	}
	return o.String()
}

func inOrder(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", then ")
}
