package host

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
)

const meminfo = `MemTotal:       24683620 kB
MemFree:        19649480 kB
MemAvailable:   22826228 kB
SwapTotal:       1048576 kB
HugePages_Total:     512
Hugepagesize:       2048 kB
Hugetlb:         1048576 kB
`

func TestParseMeminfo(t *testing.T) {
	var f Facts
	if err := f.parseMeminfo(meminfo); err != nil {
		t.Fatal(err)
	}
	if f.MemTotal != 24683620*mem.KiB || f.MemAvailable != 22826228*mem.KiB || f.SwapTotal != mem.GiB || f.HugePages != mem.GiB {
		t.Errorf("%+v", f)
	}
	for want, text := range map[string]string{
		"no Hugetlb":      strings.Replace(meminfo, "Hugetlb", "Other", 1),
		"no MemAvailable": strings.Replace(meminfo, "MemAvailable", "Other", 1),
		"want SwapTotal":  strings.Replace(meminfo, "1048576 kB", "lots", 1),
		"want MemTotal":   strings.Replace(meminfo, "24683620", "-1", 1),
	} {
		if err := f.parseMeminfo(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// What is accepted must be whole: every amount set, none negative.
func FuzzParseMeminfo(f *testing.F) {
	f.Add(meminfo)
	f.Add("MemTotal: 1 kB\nMemTotal: 2 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		var facts Facts
		if err := facts.parseMeminfo(text); err != nil {
			return
		}
		if min(facts.MemTotal, facts.MemAvailable, facts.SwapTotal, facts.HugePages) < 0 {
			t.Errorf("%+v", facts)
		}
	})
}

func TestSelected(t *testing.T) {
	for in, want := range map[string]string{"always [madvise] never": "madvise", "[always] madvise never": "always", "": ""} {
		if got := selected(in); got != want {
			t.Errorf("selected(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHasFilesystem(t *testing.T) {
	const mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
	if !hasFilesystem(mounts, "cgroup2") || hasFilesystem(mounts, "cgroup") {
		t.Error("the type is the third field, as a whole")
	}
}

func TestSearchAdj(t *testing.T) {
	for _, tt := range []struct{ floor, now, want int }{
		{-1000, 0, -1000}, {-1000, -1000, -1000}, {0, 0, 0}, {0, 500, 0}, {-998, -998, -998}, {-500, 1000, -500}, {1000, 1000, 1000},
	} {
		writes := 0
		got, refusal, err := searchAdj(tt.now, func(adj int) error {
			writes++
			if adj < tt.floor {
				return syscall.EACCES
			}
			return nil
		})
		if err != nil || got != tt.want || (refusal != nil) != (tt.floor > -1000) {
			t.Errorf("floor %d from %d: %d, %v, %v; want %d", tt.floor, tt.now, got, refusal, err, tt.want)
		}
		if writes > 12 {
			t.Errorf("floor %d: %d writes", tt.floor, writes)
		}
	}
	if _, _, err := searchAdj(0, func(int) error { return syscall.EIO }); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v, want EIO: it is no refusal", err)
	}
}

func TestRequirements(t *testing.T) {
	good := Facts{CgroupVersion: 2, CgroupMount: "/sys/fs/cgroup", SwapTotal: mem.GiB, LowestAdj: -1000, BoundingSet: AllCapabilities(40)}
	for _, q := range good.requirements(0) {
		if !q.OK || q.Remedy != "" || q.Proof == "" {
			t.Errorf("good host: %+v", q)
		}
	}
	restricted, _ := parseCapabilities(status, "CapEff", "40")
	bad := Facts{CgroupVersion: 1, CgroupMount: "/sys/fs/cgroup/memory", Hybrid: true, HugePages: mem.GiB, BoundingSet: restricted}
	want := map[string]string{
		Root: "the user is 1000", LowerAdj: "CAP_SYS_RESOURCE is not in the bounding set", CgroupV2: "cgroup2 is mounted without it",
		Swap: "SwapTotal is 0", NoHugePages: "is 1Gi",
	}
	r := Report{bad, bad.requirements(1000)}
	for name, proof := range want {
		if q, ok := r.Requirement(name); !ok || q.OK || q.Remedy == "" || !strings.Contains(q.Proof, proof) {
			t.Errorf("%s: %+v, want a proof with %q", name, q, proof)
		}
	}
	if _, ok := r.Requirement("unheard-of"); ok {
		t.Error("found a requirement that does not exist")
	}
}

// TestProbeOnThisMachine checks the probes against what can be known otherwise,
// and that they leave the machine as it was.
func TestProbeOnThisMachine(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	// Other programs mount and unmount meanwhile; a tracefs would be the probe's.
	tracefs := func() (lines []string) {
		for line := range strings.Lines(read("/proc/self/mounts")) {
			if strings.Contains(line, " tracefs ") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	adj, mounts := read(adjFile), tracefs()
	r, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now := read(adjFile); now != adj {
		t.Errorf("oom_score_adj was %q and is %q", adj, now)
	}
	if diff := cmp.Diff(mounts, tracefs()); diff != "" {
		t.Errorf("mounts changed:\n%s", diff)
	}
	if can := r.Facts.LowestAdj == -1000; os.Geteuid() == 0 && can != r.Facts.BoundingSet.Has("CAP_SYS_RESOURCE") {
		t.Errorf("lowest oom_score_adj %d (%s) with %s", r.Facts.LowestAdj, r.Facts.LowestAdjProof, r.Facts.BoundingSet.Summary())
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
}
