package cli

import (
	"bytes"
	"encoding/json"
	"errors"
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
// end has changed. For a matrix there are the same with two kubelets and as
// failed ones, and their scenario as a file.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, Setup: func(env *testscript.Env) error {
		files, err := filepath.Glob("../compare/testdata/container-limit-*.json")
		if err != nil || len(files) != 3 {
			t.Fatalf("want three records, got %v, %v", files, err)
		}
		write := func(name string, text []byte) error {
			name = filepath.Join(env.WorkDir, name)
			return errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, text, 0o644))
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			errs := []error{write(filepath.Join("same", filepath.Base(file)), data)}
			for folder, change := range map[string]func(*record.Record){
				"upgraded": func(r *record.Record) {
					r.Host.Kernel = "7.2.13"
					r.After[0].Containers[0].Ended.ExitCode = 139
				},
				"kubelet-v1.36": func(r *record.Record) { r.Node.Kubelet.Version = 36 },
				"kubelet-v1.37": func(r *record.Record) { r.Node.Kubelet.Version = 37 },
				"failed":        func(r *record.Record) { r.Node.Kubelet.Version, r.Verdict = 36, record.Fail },
			} {
				r, err := record.Read(bytes.NewReader(data))
				if err != nil {
					return err
				}
				change(r)
				var changed bytes.Buffer
				errs = append(errs, r.Write(&changed), write(filepath.Join(folder, filepath.Base(file)), changed.Bytes()))
				text, err := json.Marshal(r.Scenario) // JSON is YAML
				errs = append(errs, err, write("container-limit.yaml", text))
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
		}
		return nil
	}})
}
