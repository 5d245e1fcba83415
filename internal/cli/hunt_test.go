package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/hunt"
	"github.com/oomlab/oomlab/internal/record"
)

func TestHuntKeepsWhatEndsUnlikeMost(t *testing.T) {
	of := func(seed int, victim string) hunt.Run {
		return hunt.Run{Seed: seed, Record: &record.Record{Schema: record.Schema, Verdict: record.Pass,
			Kills: []record.Kill{{Owner: record.Owner{Workload: victim, Pod: victim}}}}}
	}
	runs := []hunt.Run{of(0, "a"), of(1, "b"), of(2, "a")}
	o := huntOptions{save: filepath.Join(t.TempDir(), "hunt")}
	catches := catchesOf(hunt.Groups(runs), func(seed int) string { return fmt.Sprintf("again %d", seed) })
	if err := o.keep("s-7.3", catches, runs); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(o.save)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"s-7.3-seed1.json", "s-7.3.txt"}, names); diff != "" {
		t.Errorf("saved (-want +got):\n%s", diff)
	}
	lines, err := os.ReadFile(filepath.Join(o.save, "s-7.3.txt"))
	if err != nil || string(lines) != "again 1 # b\n" {
		t.Errorf("lines %q, %v", lines, err)
	}
	var out strings.Builder
	printCatches(&out, catches, len(runs))
	if want := "SEEDS\tVERDICT\tKILLED\n2 of 3\tpass\ta\n1 of 3\tpass\tb\n\nagain 1\n# b\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

func TestHuntKeepsNothingWhereAllEndAlike(t *testing.T) {
	o := huntOptions{save: filepath.Join(t.TempDir(), "hunt")}
	runs := []hunt.Run{{Seed: 0, Record: &record.Record{Verdict: record.Pass}}}
	if err := o.keep("s", catchesOf(hunt.Groups(runs), nil), runs); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(o.save); !os.IsNotExist(err) {
		t.Errorf("%s is there: %v", o.save, err)
	}
}
