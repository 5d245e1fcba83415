package evidence

import (
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/record"
)

func TestParseProcCgroup(t *testing.T) {
	const hybrid = "9:name=systemd:/s\n4:cpu,memory:/node/pod\n0::/unified\n"
	for version, want := range map[int]string{1: "/node/pod", 2: "/unified"} {
		if got, ok := (Hierarchy{Version: version}).parseProcCgroup(hybrid); !ok || got != want {
			t.Errorf("v%d: %q, %v; want %q", version, got, ok, want)
		}
	}
	if got, ok := (Hierarchy{Version: 1}).parseProcCgroup("0::/unified\n"); ok {
		t.Errorf("no memory controller, but %q", got)
	}
}

func TestCompareCounts(t *testing.T) {
	owner := func(string) record.Owner { return record.Owner{Pod: "p"} }
	kills := []record.Kill{{PID: 1, TaskCgroup: "/a"}}
	twice := []record.Kill{{PID: 1, TaskCgroup: "/a", Report: &oomreport.Report{
		GroupKill: "/a", Kills: []*oomreport.Kill{{PID: 1, Times: 2}},
	}}}
	for name, tt := range map[string]struct {
		kills   []record.Kill
		counted map[string]int
		want    int
	}{
		"equal":                          {kills, map[string]int{"/a": 1}, 0},
		"the cgroup vanished":            {kills, nil, 0},
		"counted twice":                  {kills, map[string]int{"/a": 2}, 1},
		"counted elsewhere":              {kills, map[string]int{"/a": 1, "/b": 1}, 1},
		"a group kill counts twice":      {twice, map[string]int{"/a": 2}, 0},
		"a group kill, and a missed one": {twice, map[string]int{"/a": 3}, 1},
	} {
		got := compareCounts(tt.kills, tt.counted, owner)
		if len(got) != tt.want {
			t.Errorf("%s: findings %v, want %d", name, got, tt.want)
		}
		for _, f := range got {
			if f.Name != "kill-missed-by-kmsg" {
				t.Errorf("%s: finding %q", name, f.Name)
			}
		}
	}
}

func TestMarkNeedless(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	back := at(50)
	for name, tt := range map[string]struct {
		second record.Kill
		want   bool
	}{
		"before the release": {record.Kill{Time: at(40)}, true},
		"after the release":  {record.Kill{Time: at(60)}, false},
		"of the same group":  {record.Kill{Time: at(1), Group: true, OOMCgroup: "/a"}, false},
		"of another group":   {record.Kill{Time: at(1), Group: true, OOMCgroup: "/b"}, true},
	} {
		kills := []record.Kill{{Time: at(0), Uncharged: &back, OOMCgroup: "/a"}, tt.second}
		if findings := markNeedless(kills); kills[1].Needless != tt.want || (len(findings) == 1) != tt.want {
			t.Errorf("%s: %v, findings %v; want %v", name, kills[1].Needless, findings, tt.want)
		}
	}
}

func TestWithin(t *testing.T) {
	for path, want := range map[string]bool{"/a": true, "/a/b": true, "/ab": false, "/": false, "": false} {
		if got := within(path, "/a"); got != want {
			t.Errorf("within(%q, /a) = %v", path, got)
		}
	}
}

func TestThisMachine(t *testing.T) {
	h, err := FindHierarchy()
	if err != nil {
		t.Skipf("%v", err)
	}
	kernel, err := h.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	if kernel.RAM == 0 || kernel.CPUs == 0 || kernel.PageSize < 4096 || !kernel.Version.AtLeast(3, 0) {
		t.Errorf("kernel %+v", kernel)
	}
	if available, err := MemAvailable(); err != nil || available <= 0 || available > kernel.RAM.Bytes(kernel.PageSize) {
		t.Errorf("MemAvailable = %v, %v of %v pages", available, err, kernel.RAM)
	}
}
