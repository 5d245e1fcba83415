package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

func TestEveryRecordNamesItsMachine(t *testing.T) {
	dir := t.TempDir()
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (&record.Record{Schema: record.Schema, Scenario: s, Verdict: record.Pass}).Write(&b); err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")}
	for _, file := range files {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := noteMachine(dir, &record.VM{KernelName: "linux-image-6.12", Slowdown: 4}); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := record.Read(bytes.NewReader(data))
		if err != nil || r.VM == nil || r.VM.Slowdown != 4 || r.Verdict != record.Pass {
			t.Errorf("%s: %+v, %v", file, r, err)
		}
	}
	if err := os.WriteFile(files[0], []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := noteMachine(dir, &record.VM{}); err == nil {
		t.Error("what is no record was taken for one")
	}
}
