package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/oomlab/oomlab/internal/record"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"oomlab": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts plays the command lines of testdata/*.txtar. Three records of the
// cgroup lab are in same; in upgraded the kernel is another one and a reported
// end has changed.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, Setup: func(env *testscript.Env) error {
		files, err := filepath.Glob("../compare/testdata/container-limit-*.json")
		if err != nil || len(files) != 3 {
			t.Fatalf("want three records, got %v, %v", files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			r, err := record.Read(bytes.NewReader(data))
			if err != nil {
				return err
			}
			r.Host.Kernel = "7.2.13"
			r.After[0].Containers[0].Ended.ExitCode = 139
			var upgraded bytes.Buffer
			if err := r.Write(&upgraded); err != nil {
				return err
			}
			for folder, text := range map[string][]byte{"same": data, "upgraded": upgraded.Bytes()} {
				if err := os.MkdirAll(filepath.Join(env.WorkDir, folder), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(env.WorkDir, folder, filepath.Base(file)), text, 0o644); err != nil {
					return err
				}
			}
		}
		return nil
	}})
}
