package oom

import (
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

func TestValidateNamesEveryFault(t *testing.T) {
	for want, change := range map[string]func(*Snapshot){
		"pageSizeBytes is 0":            func(s *Snapshot) { s.Kernel.PageSize = 0 },
		"cpus is 0":                     func(s *Snapshot) { s.Kernel.CPUs = 0 },
		"cgroupVersion is 3":            func(s *Snapshot) { s.Kernel.CgroupVersion = 3 },
		"panicOnOOM is 3":               func(s *Snapshot) { s.Kernel.PanicOnOOM = 3 },
		"panicOnOOM is -1":              func(s *Snapshot) { s.Kernel.PanicOnOOM = -1 },
		"version is unknown":            func(s *Snapshot) { s.Kernel.Version = Version{} },
		"kernel: a number of pages":     func(s *Snapshot) { s.Kernel.RAM = -1 },
		"kernel: a number of pages ":    func(s *Snapshot) { s.Kernel.Swap = maxPages + 1 },
		"kernel: a number of pages is":  func(s *Snapshot) { s.Kernel.NodePages = []mem.Pages{1, -1} },
		"cgroup /a: listed twice":       func(s *Snapshot) { s.Cgroups = append(s.Cgroups, s.Cgroups[0]) },
		`cgroup "b": want a clean path`: func(s *Snapshot) { s.Cgroups[0].Path = "b" },
		`cgroup "": want a clean path`:  func(s *Snapshot) { s.Cgroups[0].Path = "" },
		"cgroup /a: a usage":            func(s *Snapshot) { s.Cgroups[0].Usage = -1 },
		"cgroup /a: a usage ":           func(s *Snapshot) { s.Cgroups[0].SwapUsage = -1 },
		"cgroup /a: a usage is":         func(s *Snapshot) { s.Cgroups[0].Reclaimable = -1 },
		"task 0: not a pid":             func(s *Snapshot) { s.Tasks[0].PID = 0 },
		"task 2: not a pid, or listed":  func(s *Snapshot) { s.Tasks[0].PID = 2 },
		"oomScoreAdj is 1001":           func(s *Snapshot) { s.Tasks[0].OOMScoreAdj = 1001 },
		"oomScoreAdj is -1001":          func(s *Snapshot) { s.Tasks[0].OOMScoreAdj = -1001 },
		"task 1: an amount":             func(s *Snapshot) { s.Tasks[0].Swap = -1 },
		"task 1: an amount ":            func(s *Snapshot) { s.Tasks[0].Anon = maxPages + 1 },
		"task 1: an amount of":          func(s *Snapshot) { s.Tasks[0].PageTables = -1 },
		`task 1: cgroup "a/..": want`:   func(s *Snapshot) { s.Tasks[0].Cgroup = "a/.." },
		`task 1: cgroup "/../b": want`:  func(s *Snapshot) { s.Tasks[0].Cgroup = "/../b" },
		`task 1: cgroup "": want`:       func(s *Snapshot) { s.Tasks[0].Cgroup = "" },
	} {
		s := a64(at(1, 10, 0), at(2, 10, 0))
		change(&s)
		err := s.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want only %q", err, want)
		}
		if _, err := Predict(s, Memcg("/a"), 0); err == nil {
			t.Errorf("%s: Predict accepts it", want)
		}
	}
	s := a64(at(1, 10, 1001), at(1, -1, 0))
	s.Kernel.PageSize = 0
	if err := s.Validate(); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("want all 4 faults at once, got %v", err)
	}
}

// The table of a report does not say these, and need not.
func TestValidateReport(t *testing.T) {
	s := a64(Task{PID: 1, UnsplitRSS: 5})
	s.Kernel.Version, s.Kernel.CPUs, s.FromReport = Version{}, 0, true
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if p := predict(t, s, Memcg("/a"), 0); p.Victim != 1 || len(p.Caveats) != 1 {
		t.Errorf("victim %d, caveats %q", p.Victim, p.Caveats)
	}
}

func TestLargestPlausibleSnapshot(t *testing.T) {
	s := a64(at(1, maxPages, 1000), at(2, maxPages, -999))
	s.Kernel.RAM, s.Kernel.Swap = maxPages, maxPages
	if p := predict(t, s, Global, 0); p.Victim != 1 || p.Margin <= 0 || p.Candidates[1].Points >= 0 {
		t.Errorf("%+v", p)
	}
}

func TestSmallestPlausibleKernel(t *testing.T) {
	s := a64(at(1, 0, 0))
	s.Kernel.PageSize, s.Kernel.CPUs, s.Kernel.RAM = 1, 1, 0
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}
