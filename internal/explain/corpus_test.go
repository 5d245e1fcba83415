package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/oomlab/oomlab/internal/oomreport"
)

// sharedCorpus holds reports that others published. It is no part of the
// module: logs of unknown licence are read, not copied.
const sharedCorpus = "../../../shared/corpus"

// sharedTold is what each report of the shared corpus comes to: the agreement,
// and the victim's rank of so many processes. INDEX.md there says the same of
// those whose table is complete, computed by hand.
var sharedTold = map[string][]string{
	"01": {"agrees 1 of 112"},
	"03": {"agrees 1 of 85"},
	"05": {"agrees 1 of 1"},
	"07": {"agrees 1 of 1", "agrees 1 of 1"},
	"09": {"agrees 1 of 96", "agrees 1 of 84", "agrees 1 of 77"},
	"11": {"tie 1 of 21"}, // all points negative, raised to 1 by that kernel
	"13": {"agrees 1 of 3"},
	"15": {"not-judged", "not-judged", "not-judged"}, // no table
	"17": {"agrees 1 of 2"},
	"19": {"agrees 1 of 1"},
	"21": {"agrees 1 of 10"},
	"23": {"agrees 1 of 32", "agrees 1 of 31", "not-judged"},
	"25": {"agrees 1 of 38"},
	"27": {"agrees 1 of 44"},
	"29": {"not-judged"}, // no victim stated
	"31": {"agrees 1 of 1"},
	"33": {"not-judged"},
	"35": {"explained 2 of 4"}, // a patched kernel with a column of its own
	"37": {"agrees 1 of 378"},
	"39": {"agrees"}, // nobody to kill
	"41": {"agrees 1 of 2"},
	"43": {"not-judged", "not-judged", "not-judged", "not-judged", "not-judged"},
	"45": {"not-judged", "not-judged"},
	"47": {"not-judged", "not-judged"},
	"49": {"agrees 1 of 6"},
	"51": {"agrees 1 of 2"},
	"53": {"agrees 1 of 1"},
	"55": {"not-judged"},
	"57": {"not-judged"},
	"59": {"agrees 1 of 2"}, // the log names a thread
	"61": {"not-judged"},
	"63": {"agrees 1 of 2"},
	"65": {"agrees 1 of 1", "not-judged"},
	"67": {"not-judged"},
	"69": {"not-judged"},
	"71": {"not-judged", "not-judged"},
	"73": {"explained", "explained", "explained", "explained"}, // oom_kill_allocating_task
}

func TestSharedCorpus(t *testing.T) {
	paths, err := filepath.Glob(sharedCorpus + "/*.log")
	if err != nil || len(paths) == 0 {
		t.Skipf("no logs in %s", sharedCorpus)
	}
	for _, path := range paths {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		number, _, _ := strings.Cut(filepath.Base(path), "-")
		var got []string
		for _, e := range explainAll(t, log) {
			got = append(got, summary(e))
		}
		if want := sharedTold[number]; strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("%s: %q, want %q", filepath.Base(path), got, want)
		}
	}
}

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
