package oomreport

import (
	"slices"
	"strings"
	"testing"
)

// twoReports returns the lines of two reports of one kernel, without prefix.
func twoReports(t *testing.T) (a, b []string) {
	t.Helper()
	var at []int
	var all []string
	for _, r := range records(t, "testdata/pod-limit.txtar") {
		if strings.Contains(r.Text, headerMark) {
			at = append(at, len(all))
		}
		all = append(all, r.Text)
	}
	if len(at) < 2 {
		t.Fatalf("%d reports", len(at))
	}
	return all[at[0]:at[1]], all[at[1]:]
}

// Two machines' reports, line by line in one log that names no host: nothing of
// one is said of the other with certainty.
func TestMixedReports(t *testing.T) {
	a, b := twoReports(t)
	b = slices.Clone(b)
	for i := range b { // another machine would not have the same numbers
		b[i] = strings.ReplaceAll(b[i], "failcnt ", "failcnt 1")
	}
	var mixed []string
	for i := range max(len(a), len(b)) {
		for _, lines := range [][]string{a, b} {
			if i < len(lines) {
				mixed = append(mixed, lines[i])
			}
		}
	}
	for i, r := range parseLog(t, strings.Join(mixed, "\n")) {
		if len(r.Missing) == 0 {
			t.Errorf("report %d is said to be whole: %+v", i+1, r)
		}
		if r.Memory != nil && !r.Mixed {
			t.Errorf("report %d took a counter that may be of the other: %+v", i+1, r.Memory)
		}
	}
	// One after the other, nothing is mixed, also where the paste repeats lines.
	for _, r := range parseLog(t, strings.Join(slices.Concat(a, b), "\n")) {
		if r.Mixed || len(r.Missing) > 0 {
			t.Errorf("mixed %t, missing %q", r.Mixed, r.Missing)
		}
	}
}

// Newest first, as web pages list logs: a kill is not taken for that of the
// header which stands before it.
func TestReversedLog(t *testing.T) {
	var lines []string
	for _, r := range records(t, "testdata/pod-limit.txtar") {
		lines = append(lines, printk(r))
	}
	slices.Reverse(lines)
	backwards := false
	for i, r := range parseLog(t, strings.Join(lines, "\n")) {
		if r.Trigger != nil && len(r.Kills) > 0 {
			t.Errorf("report %d has the header of one report and the kill of another", i+1)
		}
		backwards = backwards || r.Backwards && strings.Contains(strings.Join(r.Missing, "\n"), "tac")
	}
	if !backwards {
		t.Error("nothing says that the log runs backwards")
	}
}

// The kill of a report was lost, and the next one is somebody else's.
func TestKillOfAnotherReport(t *testing.T) {
	const (
		summary = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=first,pid=7,uid=1000\n"
		kill    = "Memory cgroup out of memory: Killed process 9 (NAME) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:USER pgtables:4kB oom_score_adj:0\n"
	)
	for _, tt := range []struct {
		name, user string
		reports    int
	}{
		{"other", "0", 2},    // another process of another user
		{"first", "0", 1},    // a thread of that name
		{"other", "1000", 1}, // a thread of another name
	} {
		log := summary + strings.NewReplacer("NAME", tt.name, "USER", tt.user).Replace(kill)
		if got := parseLog(t, log); len(got) != tt.reports {
			t.Errorf("killed %s of user %s: %d reports, want %d", tt.name, tt.user, len(got), tt.reports)
		}
	}
}

// A wrapped list of statistics does not become part of the cgroup's path.
func TestStatsCutInAWord(t *testing.T) {
	path, stats := parseStatsHead("Memory cgroup stats for /a b: cache:844KB rss:521 136KB mapped_file: 4KB swap:0 KB")
	want := Stats{{"cache", 844 << 10}, {"rss", 521136 << 10}, {"mapped_file", 4 << 10}, {"swap", 0}}
	if path != "/a b" || !slices.Equal(stats, want) {
		t.Errorf("path %q, stats %v", path, stats)
	}
}

// Whatever a process calls itself, it stays the process of its own line.
func TestNamesThatLookLikePrefixes(t *testing.T) {
	for _, name := range []string{
		`{"msg":"a"}`, `"a": 1`, `"a"`, "> a", "[    0.000001] ", "MESSAGE=a", "A=b", "&#10;x", "a\\nb\\nc\\nd\\n", "kernel: a", "1 | a", "<4>a",
	} {
		for _, prefix := range []string{"[  100.000000] ", "Jun 24 18:49:43 node-1 kernel: [  100.000000] ", "Jun 24 18:49:43 node-1 kernel: ", ""} {
			// Where a line names no time of the kernel's, a name may pass for one.
			hides := prefix == "" || strings.HasPrefix(name, "[") && !strings.Contains(prefix, "[")
			log := prefix + name + " invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=7\n" +
				prefix + "Memory cgroup out of memory: Killed process 9 (" + name + ") total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:7\n"
			reports := parseLog(t, log)
			if len(reports) != 1 || len(reports[0].Kills) != 1 || reports[0].Kills[0].PID != 9 {
				t.Errorf("%q after %q: %d reports", name, prefix, len(reports))
				continue
			}
			if got := reports[0].Kills[0].Name; got != name && got != strings.TrimSpace(name) && !strings.Contains(name, "&") {
				t.Errorf("%q after %q: killed %q", name, prefix, got)
			}
			if reports[0].Trigger == nil && !hides {
				t.Errorf("%q after %q: no header", name, prefix)
			}
		}
	}
}
