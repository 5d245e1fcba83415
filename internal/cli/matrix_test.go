package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/matrix"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

func TestMatrixProgress(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	cells, err := matrix.Cells(matrix.Axis{Name: matrix.Kubelet, Values: []string{"v1.37.2"}})
	if err != nil {
		t.Fatal(err)
	}
	kept := &matrix.Run{Cell: cells[0], Scenario: s, N: 1, Kept: true, Record: &record.Record{Verdict: record.Pass}}
	again := &matrix.Run{Cell: cells[0], Scenario: s, N: 2, Path: "out/2.json", Redo: "it is cut short"}
	var out bytes.Buffer
	p := matrixProgress{out: &out, all: []*matrix.Run{kept, again}}
	if missing := p.found(); missing != 1 {
		t.Errorf("%d missing, want 1", missing)
	}
	p.begin(again)
	again.Err = errors.New("no space:\nfree some")
	p.end(again)
	for _, want := range []string{
		"made again: out/2.json: it is cut short\n", "kept: 1 of 2 records\n",
		"2 of 2 kubelet-v1.37.2 qos-order 2: could not be finished: no space:; free some after 0 s\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if got := verdictsOf(p.all, "kubelet-v1.37.2", "qos-order"); got != "1 pass, 1 unfinished" {
		t.Errorf("table: %q", got)
	}
}

func TestMatrixCells(t *testing.T) {
	for _, tt := range []struct {
		o    matrixOptions
		want string
	}{
		{matrixOptions{lab: "kind", kubernetes: "v1.37.2"}, "kubelet-v1.37.2"},
		{matrixOptions{lab: "cgroup", kubernetes: "v1.36.3"}, "kubelet-v1.36.3"},
		{matrixOptions{lab: "vm", kubernetes: "v1.37.2"}, "kernel-" + defaultKernel},
		{matrixOptions{lab: "vm", kernels: []string{"5.10"}, cgroups: []string{"v1", "v2"}}, "kernel-5.10/cgroup-v1 kernel-5.10/cgroup-v2"},
		{matrixOptions{lab: "vm", kernels: []string{"5.10"}, kubelets: []string{"v1.36.3", "v1.37.2"}}, "kernel-5.10/kubelet-v1.36.3 kernel-5.10/kubelet-v1.37.2"},
		{matrixOptions{lab: "kind", containerd: []string{"v2.2.5"}}, "containerd-v2.2.5"},
		{matrixOptions{lab: "kind", nodeImages: []string{"a:1", "a:2"}}, "image-a-1 image-a-2"},
	} {
		cells, err := tt.o.cells()
		var got []string
		for _, c := range cells {
			got = append(got, c.Path)
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %q, %v; want %s", tt.o, got, err, tt.want)
		}
	}
}

func TestMatrixCounts(t *testing.T) {
	of := func(v record.Verdict) *matrix.Run { return &matrix.Run{Record: &record.Record{Verdict: v}} }
	var out bytes.Buffer
	printMatrixCounts(&out, []*matrix.Run{of(record.Pass), of(record.Fail), of(record.Unsupported), of(record.Inconclusive), {Err: errors.New("no space")}})
	if want := "ran 4 of 5 runs: 1 passed, 3 failed; 1 unsupported\n1 passed, 3 failed\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
