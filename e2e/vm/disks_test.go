package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab"
)

func TestOneWorkerIsLeftAndNothingElseChanges(t *testing.T) {
	var before, after v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(oomlab.KindConfig, &before); err != nil {
		t.Fatal(err)
	}
	one, err := oneWorker(oomlab.KindConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(one, &after); err != nil {
		t.Fatalf("what it wrote can't be read: %v\n%s", err, one)
	}
	before.Nodes = before.Nodes[:2]
	if before.Nodes[0].Role != v1alpha4.ControlPlaneRole || before.Nodes[1].Role != v1alpha4.WorkerRole {
		t.Fatal("kind-config.yaml does not begin with a control plane and a worker")
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestUnpackStaysInItsDirectory(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) string {
		file := filepath.Join(dir, "results.tar")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		w := tar.NewWriter(f)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 2, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("ok")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(1 << 20); err != nil { // as the disk of a guest
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return file
	}
	target := filepath.Join(dir, "artifacts")
	if err := unpack(write("records/a.json"), target); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(target, "records", "a.json")); err != nil || string(data) != "ok" {
		t.Errorf("read %q, %v", data, err)
	}
	if err := unpack(write("../outside"), target); err == nil {
		t.Error("a name that leads out was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "outside")); err == nil {
		t.Error("a file was written outside")
	}
	if err := unpack(makeEmpty(t, dir), target); err != nil {
		t.Errorf("a disk that nobody wrote to: %v", err)
	}
}

func makeEmpty(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "empty")
	if err := makeOutput(file); err != nil {
		t.Fatal(err)
	}
	return file
}
