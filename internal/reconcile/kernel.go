package reconcile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/oomlab/oomlab/internal/record"
)

// addMarks gives each kill the time at which the kernel chose it, and finds the
// kills of which the log has no line.
func (w Witnesses) addMarks(r *Result) {
	missing := w.uncounted(r.Kills)
	for _, m := range w.Marks {
		m.PID = w.process(m.PID)
		at := w.Boot.Add(m.Uptime)
		if i := slices.IndexFunc(r.Kills, func(k record.Kill) bool { return k.PID == m.PID }); i >= 0 {
			k := &r.Kills[i]
			if k.Marked == nil { // a group kill marks its first victim twice
				k.Marked, k.Time = &at, at
				k.Sources = append(k.Sources, Trace)
				if k.Recorded == nil || m.Recorded.Before(*k.Recorded) {
					k.Recorded = &m.Recorded
				}
			}
			continue
		}
		p, ours := w.Processes[m.PID]
		if !ours {
			continue
		}
		owner := w.Owner(p.Cgroup)
		if missing[p.Cgroup] == 0 && w.LogLost == 0 {
			r.find(record.Finding{Name: "marked-while-exiting", Text: fmt.Sprintf(
				"the kernel chose process %d of %s and had nothing to kill: it was exiting by itself", m.PID, owner)})
			continue
		}
		missing[p.Cgroup]--
		r.find(record.Finding{Name: "kill-missed-by-kmsg", Text: fmt.Sprintf(
			"the kernel chose process %d of %s, and its log has no line of that kill", m.PID, owner)})
		r.insert(record.Kill{
			Time: at, Marked: &at, Recorded: &m.Recorded, PID: m.PID, Owner: owner, Main: p.Main, TaskCgroup: p.Cgroup, Sources: []string{Trace},
		})
	}
}

// insert puts a kill in its place by time.
func (r *Result) insert(k record.Kill) {
	i := slices.IndexFunc(r.Kills, func(other record.Kill) bool { return other.Time.After(k.Time) })
	if i < 0 {
		i = len(r.Kills)
	}
	r.Kills = slices.Insert(r.Kills, i, k)
}

// uncounted is how many kills each cgroup counted beyond those given. A negative
// number is no contradiction: the cgroup may have vanished with its count.
func (w Witnesses) uncounted(kills []record.Kill) map[string]int {
	n := maps.Clone(w.Counted)
	if n == nil {
		n = map[string]int{}
	}
	for _, k := range kills {
		if k.Report == nil && k.Group {
			n[k.TaskCgroup] = 0 // all are dead, and without a log nobody says how often each was killed
			continue
		}
		n[k.TaskCgroup]--
		if k.Report == nil || k.Report.GroupKill == "" {
			continue
		}
		lines := 0 // one and the same process may be killed several times
		for _, again := range k.Report.Kills {
			if w.process(again.PID) == k.PID {
				lines += again.Times
			}
		}
		n[k.TaskCgroup] -= max(0, lines-1)
	}
	return n
}

// addCounts holds the kills against the counters of the cgroups. It returns how
// many kills each container has only counted: nobody knows of which process.
func (w Witnesses) addCounts(r *Result) map[record.Owner]int {
	for i := range r.Kills {
		k := &r.Kills[i]
		if w.Counted[k.TaskCgroup] > 0 {
			k.Sources = append(k.Sources, Cgroup)
		}
	}
	missing := w.uncounted(r.Kills)
	onlyCounted := map[record.Owner]int{}
	for _, path := range slices.Sorted(maps.Keys(missing)) {
		if n := missing[path]; n > 0 {
			onlyCounted[w.Owner(path)] += n
			r.find(record.Finding{Name: "kill-missed-by-kmsg", Text: fmt.Sprintf(
				"the cgroup of %s counted %d kills, the kernel's log has %d", w.Owner(path), w.Counted[path], w.Counted[path]-n)})
		}
	}
	return onlyCounted
}

// needless marks the kills that came before the victim before them had given
// its memory back. The processes of one decision die together, needlessly or not.
func needless(kills []record.Kill) []record.Finding {
	var findings []record.Finding
	for i := 1; i < len(kills); i++ {
		before, k := kills[i-1], &kills[i]
		if k.Decision == before.Decision {
			k.Needless = before.Needless
			continue
		}
		if before.Uncharged == nil || !k.Time.Before(*before.Uncharged) {
			continue
		}
		k.Needless = true
		findings = append(findings, record.Finding{
			Name: "second-kill-before-release",
			Text: fmt.Sprintf("%s was killed %d ms after %s, whose %s were given back only %d ms later: a dying process is no candidate any more while its memory still counts",
				k.Owner, k.Time.Sub(before.Time).Milliseconds(), before.Owner, before.Freed.Human(), before.Uncharged.Sub(k.Time).Milliseconds()),
		})
	}
	return findings
}
