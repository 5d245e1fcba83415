package reconcile

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/record"
)

func TestScoresWritten(t *testing.T) {
	w := agreed()
	w.Processes[11] = Process{Cgroup: "/node/pods/a/two"}
	w.Scores = []ScoreWrite{
		{PID: 9, By: 9, Name: "6", ByName: "runc", OOMScoreAdj: 1000, Uptime: 1, Cgroup: "/node/pods/a/one"},
		{PID: 11, By: 5, ByName: "sh", Name: "stressor", OOMScoreAdj: 3, Uptime: 2},
		{PID: 12, By: 12, Name: "sshd", OOMScoreAdj: 4, Uptime: 3, Cgroup: "/other"},
		{PID: 13, By: 13, Name: "nobody", OOMScoreAdj: 5, Uptime: 4},
	}
	want := []record.ScoreWrite{
		{Time: boot.Add(1), PID: 9, Name: "6", Owner: node.Owner("/node/pods/a/one"), OOMScoreAdj: 1000, By: oomreport.Process{PID: 9, Name: "runc"}},
		{Time: boot.Add(2), PID: 11, Name: "stressor", Owner: node.Owner("/node/pods/a/two"), OOMScoreAdj: 3, By: oomreport.Process{PID: 5, Name: "sh"}},
	}
	r := Reconcile(w)
	if diff := cmp.Diff(want, r.Scores); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if len(r.Findings) != 0 {
		t.Errorf("findings: %v", r.Findings)
	}
}

// The victim died with another score than the snapshot had: whoever wrote it
// last, before the kill, is named.
func TestScoreChangedSinceTheSnapshot(t *testing.T) {
	const cgroup = "/node/pods/a/one"
	const changed = "process 10 of a/one had oom_score_adj 200 in the snapshot, and 500 when the kernel killed it: "
	by := func(pid, adj int, at time.Duration) ScoreWrite {
		return ScoreWrite{PID: 10, By: pid, ByName: "sh", OOMScoreAdj: adj, Uptime: at, Cgroup: cgroup}
	}
	second := time.Second
	for name, tt := range map[string]struct {
		before map[int]int
		writes []ScoreWrite
		want   string
	}{
		"by itself":         {map[int]int{10: 200}, []ScoreWrite{by(7, 500, second/4), by(10, 500, second/2)}, changed + "it wrote that itself 0.5 s before"},
		"by another":        {map[int]int{10: 200}, []ScoreWrite{by(7, 500, second/2), by(10, 300, second*2/3)}, changed + "sh/7 wrote that 0.5 s before"},
		"after the kill":    {map[int]int{10: 200}, []ScoreWrite{by(10, 500, 2*second)}, changed + "nobody was seen to write that"},
		"without the trace": {map[int]int{10: 200}, nil, changed + "nobody was seen to write that"},
		"to the same":       {map[int]int{10: 500}, []ScoreWrite{by(10, 500, second/2)}, ""},
		"of a later pid":    {map[int]int{11: 200}, []ScoreWrite{by(10, 500, second/2)}, ""},
	} {
		w := agreed()
		w.Logged[0].OOMScoreAdj = 500
		w.ScoresBefore, w.Scores = tt.before, tt.writes
		var got string
		for _, f := range Reconcile(w).Findings {
			got += f.Text
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		w.Logged = nil // the trace alone tells of no score
		for _, f := range Reconcile(w).Findings {
			if f.Name == "score-changed-since-snapshot" {
				t.Errorf("%s, without the log: %v", name, f)
			}
		}
	}
}
