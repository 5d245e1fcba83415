package vmlab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
)

// What a machine with disks starts with can be read by its init: the job, and
// the modules under the names that the job has, in the same order.
func TestFilesOfASystem(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"guest", "jbd2.ko", "ext4.ko"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	t.Setenv(lab.GuestEnv, paths[0])
	s := System{Modules: paths[1:], Program: wire.Program{Argv: []string{"true"}, Results: "/results"}}
	files, err := s.files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	if want := []string{"init", "jbd2.ko", "ext4.ko", "job.json"}; !slices.Equal(names, want) {
		t.Fatalf("files %q, want %q", names, want)
	}
	var job wire.Job
	if err := json.Unmarshal(files[3].data, &job); err != nil {
		t.Fatalf("the job can't be read: %v\n%s", err, files[3].data)
	}
	want := wire.Job{
		Modules: []string{"/jbd2.ko", "/ext4.ko"}, Program: &wire.Program{Argv: []string{"true"}, Results: "/results"},
	}
	if diff := cmp.Diff(want, job); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
