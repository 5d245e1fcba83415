package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/record"
)

// ScoreWrite is one oom:oom_score_adj_update: somebody wrote the oom_score_adj of
// a process, perhaps its own. A process that inherits its parent's makes none.
type ScoreWrite struct {
	PID int
	// Name is the process's, its comm.
	Name        string
	OOMScoreAdj int
	// By is who wrote it. ByName is the name that one was started by, empty if it
	// has ended meanwhile.
	By     int
	ByName string
	// Uptime is the time on CLOCK_MONOTONIC.
	Uptime time.Duration
	// Cgroup is the process's, as read right after; empty if it had ended by then.
	Cgroup string
}

// addScores keeps the scores that were written on the node, and finds the victims
// whose score was another one by the time of their death than in the snapshot:
// the forecast could not know.
func (w Witnesses) addScores(r *Result) {
	for _, s := range w.Scores {
		if s.Cgroup == "" {
			s.Cgroup = w.Processes[s.PID].Cgroup
		}
		if !Within(s.Cgroup, w.Root) {
			continue
		}
		r.Scores = append(r.Scores, record.ScoreWrite{
			Time: w.Boot.Add(s.Uptime), PID: s.PID, Name: s.Name, Owner: w.Owner(s.Cgroup), OOMScoreAdj: s.OOMScoreAdj,
			By: oomreport.Process{PID: s.By, Name: s.ByName},
		})
	}
	for _, k := range r.Kills {
		before, known := w.ScoresBefore[k.PID]
		if !known || k.Report == nil || before == k.OOMScoreAdj {
			continue // without a line of the log the kill's score is that of the snapshot
		}
		r.find(record.Finding{Name: "score-changed-since-snapshot", Text: fmt.Sprintf(
			"process %d of %s had oom_score_adj %d in the snapshot, and %d when the kernel killed it: %s",
			k.PID, k.Owner, before, k.OOMScoreAdj, whoWrote(r.Scores, k))})
	}
}

// whoWrote says who gave the victim the score it died with.
func whoWrote(scores []record.ScoreWrite, k record.Kill) string {
	for _, s := range slices.Backward(scores) {
		if s.PID != k.PID || s.OOMScoreAdj != k.OOMScoreAdj || s.Time.After(k.Time) {
			continue
		}
		who := "it wrote that itself"
		if s.By.PID != s.PID {
			who = fmt.Sprintf("%s wrote that", s.By)
		}
		return fmt.Sprintf("%s %.1f s before", who, k.Time.Sub(s.Time).Seconds())
	}
	return "nobody was seen to write that"
}
