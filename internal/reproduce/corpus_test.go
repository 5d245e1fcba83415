package reproduce

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/oomlab/oomlab/internal/explain"
)

// Each report of the corpus was provoked on a real kernel: the model names the
// kernel's victim, and a scenario can be made. (That the same happens again is
// seen by make reproduce.)
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d reports: %v", len(files), err)
	}
	for _, file := range files {
		log, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		o := options()
		o.WholeMachine = true
		a := mustMake(t, string(log), o)
		if a.Scale != 1 {
			t.Errorf("%s: scale %g, though it fits", file, a.Scale)
		}
		if _, e := read(t, string(log)); e.Victim.Rank != 1 || e.Agreement != explain.Agrees && e.Agreement != explain.Tie {
			t.Errorf("%s: the victim is rank %d: %s %v", file, e.Victim.Rank, e.Agreement, e.Why)
		}
	}
}
