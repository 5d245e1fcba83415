package oomreport

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the reports into the golden files")

// corpus returns the files of testdata by name. Each says in its comment where
// its log comes from.
func corpus(t testing.TB) map[string]*txtar.Archive {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus in testdata: %v", err)
	}
	archives := make(map[string]*txtar.Archive)
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		archives[path] = a
	}
	return archives
}

// file returns a file of an archive, empty where it has none.
func file(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func TestGolden(t *testing.T) {
	for path, a := range corpus(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			log := file(a, "log")
			if len(a.Comment) == 0 || len(log) == 0 {
				t.Fatal("want a comment with the provenance, and a log")
			}
			reports, err := Parse(bytes.NewReader(log))
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			for _, r := range reports {
				if err := enc.Encode(r); err != nil {
					t.Fatal(err)
				}
			}
			if *update {
				a.Files = []txtar.File{{Name: "log", Data: log}, {Name: "reports.json", Data: got.Bytes()}}
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(file(a, "reports.json")), got.String()); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
		})
	}
}
