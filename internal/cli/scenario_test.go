package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// oomlab runs the command line as main does.
func oomlab(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestScenariosListsTheWholeCatalog(t *testing.T) {
	code, stdout, stderr := oomlab("scenarios")
	if code != exitPass {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, name := range scenarios.Names() {
		if !strings.Contains(stdout, "\n"+name+" ") {
			t.Errorf("%s is not in the list", name)
		}
	}
	_, stdout, _ = oomlab("scenarios", "-o", "json")
	var all []scenarios.Scenario
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all) != len(scenarios.Names()) {
		t.Errorf("%d scenarios in JSON, error %v", len(all), err)
	}
	if code, _, stderr := oomlab("scenarios", "-o", "yaml"); code != exitUsage || !strings.Contains(stderr, "want table or json") {
		t.Errorf("-o yaml: exit code %d: %s", code, stderr)
	}
}

func TestValidateNamesEveryError(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte(`apiVersion: oomlab.dev/v1alpha1
kind: Scenario
metadata: {name: bad}
title: Two mistakes
story: One plan and one name are wrong.
node: {memory: 1Gi, domain: kubepods}
workloads:
- name: a
  balloon: fill 1000000Gi
until: {kills: 1}
expect: {killed: [b]}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := oomlab("validate", "qos-order", bad, "missing.yaml")
	if code != exitUsage || !strings.Contains(stdout, "qos-order: ok") {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
	for _, want := range []string{bad + ":9:", bad + ":11:", `"missing.yaml" is neither a file nor in the catalog`} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in\n%s", want, stderr)
		}
	}
}

func TestShowRetellsARecord(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "run.json")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&record.Record{
		Schema: record.Schema, Scenario: s, Lab: "cgroup", Verdict: record.Pass,
		Timeline: []record.Event{{AtSeconds: 2, Step: "kill", Text: "1. best-effort"}},
		Claims:   []record.Claim{{Name: "killed", Verdict: record.Pass, Sentence: "in this order"}},
	}).Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := oomlab("show", path)
	if code != exitPass {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{s.Title, "2.00s  kill      1. best-effort", "pass          killed", "lab cgroup"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if code, _, stderr := oomlab("show", filepath.Join(t.TempDir(), "none.json")); code != exitUsage || !strings.Contains(stderr, "open run record") {
		t.Errorf("no such record: exit code %d: %s", code, stderr)
	}
	if err := os.WriteFile(path, []byte(`{"schema": "oomlab.dev/record/v9"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := oomlab("show", path); code != exitUsage || !strings.Contains(stderr, "this oomlab reads "+record.Schema) {
		t.Errorf("a record of another version: exit code %d: %s", code, stderr)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "no-such-scenario"}, "neither a file nor in the catalog"},
		{[]string{"run", "qos-order", "--lab", "moon"}, `--lab "moon": want`},
		{[]string{"run"}, "accepts 1 arg(s)"},
		{[]string{"provoke"}, `unknown command "provoke"`},
		{[]string{"validate"}, "requires at least 1 arg(s)"},
	} {
		if code, _, stderr := oomlab(tc.args...); code != exitUsage || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit code %d: %s", tc.args, code, stderr)
		}
	}
}

func TestCatalogPageIsCurrent(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "catalog.md"))
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := oomlab("scenarios", "-o", "markdown")
	if code != exitPass {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if diff := cmp.Diff(string(page), stdout); diff != "" {
		t.Errorf("docs/catalog.md is not what the files say: run make catalog (-page +files):\n%s", diff)
	}
}
