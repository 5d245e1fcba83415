package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/oomlab/oomlab/internal/oomreport"
)

func summary(e *Explanation) string {
	if e.Victim == nil || e.Victim.Rank == 0 {
		return string(e.Agreement)
	}
	return fmt.Sprintf("%s %d of %d", e.Agreement, e.Victim.Rank, len(e.Ranking))
}

func explainAll(t *testing.T, log []byte) (all []*Explanation) {
	t.Helper()
	reports, err := oomreport.Parse(bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	var x Explainer
	for _, r := range reports {
		all = append(all, x.Explain(r))
	}
	return all
}

// ownLogs are the logs that this project has provoked, and formats made from
// the kernel's sources.
func ownLogs(tb testing.TB) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob("../oomreport/testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no corpus: %v", err)
	}
	logs := map[string][]byte{}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range a.Files {
			if f.Name == "log" {
				logs[filepath.Base(path)] = f.Data
			}
		}
	}
	return logs
}

// The kernel's victim is the first of every table that this project's own
// kernels have printed, unless the log says why not.
func TestOwnCorpus(t *testing.T) {
	judged := 0
	for name, log := range ownLogs(t) {
		for i, e := range explainAll(t, log) {
			if e.Agreement == NotJudged || e.Victim == nil {
				continue
			}
			judged++
			if e.Victim.Rank != 1 && e.Agreement != Explained {
				t.Errorf("%s, report %d: %s %q", name, i+1, summary(e), e.Why)
			}
		}
	}
	if judged < 10 {
		t.Errorf("only %d reports were judged", judged)
	}
}

// FuzzExplain looks for panics, and for explanations that claim what they can't.
func FuzzExplain(f *testing.F) {
	for _, log := range ownLogs(f) {
		f.Add(log)
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		for _, e := range explainAll(t, log) {
			if _, err := json.Marshal(e); err != nil {
				t.Errorf("no JSON: %v", err)
			}
			checkExplanation(t, e)
		}
	})
}

func checkExplanation(t *testing.T, e *Explanation) {
	t.Helper()
	judged := e.Agreement == Agrees || e.Agreement == Tie || e.Agreement == Disagrees
	if judged && e.Victim != nil && (e.Victim.Rank == 1) != (e.Agreement != Disagrees) {
		t.Errorf("%s, rank %d", e.Agreement, e.Victim.Rank)
	}
	if len(e.Changes) > 0 && e.Agreement != Agrees && e.Agreement != Tie {
		t.Errorf("%s, and %d changes", e.Agreement, len(e.Changes))
	}
	if e.TotalPages.Low > e.TotalPages.High || e.TotalPages.Low < 1 || !e.TotalPages.Exact() && e.TotalPages.Open == "" {
		t.Errorf("total pages %+v", e.TotalPages)
	}
	if e.Agreement != NotJudged && len(e.Why) == 0 {
		t.Errorf("%s, and no word why", e.Agreement)
	}
	for i, r := range e.Ranking {
		if i > 0 && r.Excluded == "" && r.Points > e.Ranking[i-1].Points {
			t.Errorf("row %d has more points than the one before", i+1)
		}
	}
	for _, c := range e.Changes {
		if e.Victim != nil && c.Victim == e.Victim.Row && e.GroupKill == nil {
			t.Errorf("%q changes nothing", c.What)
		}
	}
}
