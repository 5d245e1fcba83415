package matrix

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

func TestCells(t *testing.T) {
	for name, tt := range map[string]struct {
		axes []Axis
		want []string
	}{
		"one axis":       {[]Axis{{Kubelet, []string{"v1.36.3", "v1.37.2"}}, {Containerd, nil}}, []string{"kubelet-v1.36.3", "kubelet-v1.37.2"}},
		"a combination":  {[]Axis{{Kernel, []string{"6.1", "6.12"}}, {Cgroup, []string{"v1", "v2"}}}, []string{"kernel-6.1/cgroup-v1", "kernel-6.1/cgroup-v2", "kernel-6.12/cgroup-v1", "kernel-6.12/cgroup-v2"}},
		"files, images":  {[]Axis{{Kernel, []string{"/boot/vmlinuz-6.1"}}, {NodeImage, []string{"my/node:v1@sha256:00"}}}, []string{"kernel-boot-vmlinuz-6.1/image-my-node-v1-sha256-00"}},
		"nothing varies": {nil, []string{""}},
	} {
		cells, err := Cells(tt.axes...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, c := range cells {
			got = append(got, c.Path)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, axis := range map[string]Axis{
		"given twice":    {Kubelet, []string{"v1.37.2", "v1.37.2"}},
		"the same files": {NodeImage, []string{"a/b:c", "a-b-c"}},
	} {
		if _, err := Cells(axis); err == nil || !strings.Contains(err.Error(), "would share the folder "+axis.Name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	kind := &record.Record{Host: record.Host{Kernel: "6.12.48-cloud-amd64", CgroupVersion: 2},
		Node: record.Node{Versions: map[string]string{"kubelet": "v1.36.3", "containerd": "2.4.2"}}}
	cgroups := &record.Record{Host: record.Host{Kernel: "6.1.0"}, Node: record.Node{Kubelet: &qos.Node{Version: 36}}}
	for _, tt := range []struct {
		r           *record.Record
		axis, value string
		wantErr     string // empty: it fits
	}{
		{kind, Kubelet, "v1.36.3", ""},
		{kind, Kubelet, "v1.36.4", `it ran with kubelet "v1.36.3", not v1.36.4`},
		{kind, Containerd, "v2.4.2", ""},
		{kind, Containerd, "v2.2.5", `containerd "2.4.2", not v2.2.5`},
		{kind, Cgroup, "v2", ""},
		{kind, Cgroup, "v1", `cgroup "2", not v1`},
		{kind, Kernel, "6.12", ""},
		{kind, Kernel, "6.1", "it ran on kernel 6.12.48-cloud-amd64, not 6.1"},
		{kind, Kernel, "/boot/vmlinuz", ""},
		{cgroups, Kernel, "6.1", ""},
		{&record.Record{Host: record.Host{Kernel: "6.12.118+deb13-cloud-amd64"}}, Kernel, "6.12.118", ""},
		{&record.Record{Host: record.Host{Kernel: "6.12.118+deb13-cloud-amd64"}}, Kernel, "6.12.11", "not 6.12.11"},
		{cgroups, Kubelet, "v1.36.3", ""},
		{cgroups, Kubelet, "v1.37.2", `kubelet "1.36", not 1.37`},
		{&record.Record{Verdict: record.Unsupported}, Kubelet, "v1.37.2", ""},
		{&record.Record{}, Kubelet, "v1.37.2", `kubelet "", not v1.37.2`},
	} {
		cells, err := Cells(Axis{tt.axis, []string{tt.value}})
		if err != nil {
			t.Fatal(err)
		}
		err = cells[0].check(tt.r)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s %s: error %v, want %q", tt.axis, tt.value, err, tt.wantErr)
		}
	}
}
