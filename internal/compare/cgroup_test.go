package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// fromLab returns the runs of container-limit that the cgroup lab has recorded,
// on Linux 6.18 with cgroup v1.
func fromLab(t *testing.T) []Run {
	t.Helper()
	files, err := filepath.Glob("testdata/container-limit-*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("want three records in testdata, got %v, %v", files, err)
	}
	var all []Run
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := record.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Run{Path: file, Record: r})
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestRealRunsDifferInNothing(t *testing.T) {
	all := fromLab(t)
	for i, r := range all {
		if got := lines(t, []Run{r}, []Run{all[(i+1)%len(all)]}); got != nil {
			t.Errorf("runs %d and %d: %q", i, (i+1)%len(all), got)
		}
	}
	if got := lines(t, all, all); got != nil {
		t.Errorf("all against all: %q", got)
	}
}

// What a real record says is looked at, all of it: each change of one is seen.
func TestRealRunsShowWhatIsChanged(t *testing.T) {
	for want, edit := range map[string]edit{
		"unexplained: limit of kubepods memory.max": func(r *record.Record) {
			r.Limits[0].Observed.Max, r.Limits[0].Formula.Max = r.Limits[2].Observed.Max, r.Limits[2].Observed.Max
		},
		"unexplained: victims":                          func(r *record.Record) { r.Kills[0].Owner.Workload, r.Kills[0].Owner.Pod = "bystander", "bystander" },
		"unexplained: what ran out of limited":          func(r *record.Record) { r.Kills[0].OOMLevel = qos.LevelContainer },
		"unexplained: reported end of limited":          func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Completed" },
		"noise: reported end of limited by reason-race": func(r *record.Record) { r.After[0].Containers[0].Ended.Reason = "Error" },
		"unexplained: claim of survive":                 func(r *record.Record) { claimOf(r, "survive").Verdict = record.Fail },
		"explained: limit of limited memory.oom.group by cgroup-version": func(r *record.Record) {
			r.Host.CgroupVersion = 2
			for i := range r.Limits {
				if o := r.Limits[i].Owner; o.Container == "limited" {
					r.Limits[i].Observed.OOMGroup, r.Limits[i].Formula.OOMGroup = true, true
				}
			}
		},
	} {
		changed := fromLab(t)
		for _, r := range changed {
			edit(r.Record)
		}
		if got := lines(t, fromLab(t), changed); !slices.Contains(got, want) {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

func claimOf(r *record.Record, name string) *record.Claim {
	for i := range r.Claims {
		if r.Claims[i].Name == name {
			return &r.Claims[i]
		}
	}
	panic(fmt.Sprintf("the record has no claim %s", name))
}
