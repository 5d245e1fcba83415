package oomreport

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// push feeds lines of /dev/kmsg and returns what became of each report: its
// events in order.
func push(t *testing.T, a *Assembler, log string) []Event {
	t.Helper()
	var events []Event
	for line := range strings.Lines(log) {
		r, ok := ParseKmsg(strings.TrimSuffix(line, "\n"))
		if !ok {
			t.Fatalf("%q is no record of /dev/kmsg", line)
		}
		events = append(events, a.Push(r)...)
	}
	return events
}

const kill1122 = "Memory cgroup out of memory: Killed process 1122 (stress) total-vm:719716kB, anon-rss:522880kB, file-rss:536kB, shmem-rss:0kB, UID:0 pgtables:1072kB oom_score_adj:0\n"

func TestKillIsToldAtItsLine(t *testing.T) {
	var a Assembler
	push(t, &a, "4,10,1000000,-;stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-5\n"+
		"4,11,1000001,-;CPU: 3 UID: 0 PID: 1121 Comm: stress Not tainted 6.18.44 #1\n"+
		"6,12,1000002,-;memory: usage 524288kB, limit 524288kB, failcnt 69\n")
	if !a.Open() {
		t.Error("the report is not open before its kill")
	}
	events := push(t, &a, "3,13,1000003,-;"+kill1122)
	if len(events) != 1 || events[0].Kind != Killed || events[0].Kill.PID != 1122 {
		t.Fatalf("events = %+v, want one kill of 1122", events)
	}
	r := events[0].Report
	if r.Trigger.PID != 1121 || *r.Trigger.OOMScoreAdj != -5 || r.Kernel != "6.18.44" || r.Bare() || a.Open() {
		t.Errorf("trigger %+v, kernel %q, bare %v, open %v", r.Trigger, r.Kernel, r.Bare(), a.Open())
	}
}

func TestKillWithoutReportIsBare(t *testing.T) {
	var a Assembler
	push(t, &a, "4,10,1000000,-;stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n3,11,1000001,-;"+kill1122)
	events := push(t, &a, "3,12,1000300,-;"+strings.Replace(kill1122, "1122", "1123", 1))
	var kinds []EventKind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	if diff := cmp.Diff([]EventKind{Closed, Started, Killed}, kinds); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
	if r := events[2].Report; !r.Bare() || r.Global || r.Domain != "" {
		t.Errorf("report of a lone kill = %+v, want nothing but the kill", r)
	}
}

func TestGroupKill(t *testing.T) {
	var a Assembler
	again := strings.Replace(kill1122, "1122", "1123", 1)
	events := push(t, &a, "4,10,1000000,-;stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"+
		"3,11,1000001,-;"+kill1122+
		"6,12,1000002,-;Tasks in /pod/a b are going to be killed due to memory.oom.group set\n"+
		"3,13,1000003,-;"+kill1122+
		"3,14,1000004,-;"+again+
		// Two seconds later another OOM, whose report was withheld.
		"3,15,3000004,-;"+strings.Replace(kill1122, "1122", "1124", 1))
	r := events[0].Report
	if r.GroupKill != "/pod/a b" || len(r.Kills) != 2 || r.Kills[0].Times != 2 || r.Kills[1].Times != 1 {
		t.Errorf("group %q, kills %+v", r.GroupKill, r.Kills)
	}
	if last := events[len(events)-1]; last.Kill.PID != 1124 || !last.Report.Bare() {
		t.Errorf("last event = %+v, want a bare kill of 1124", last)
	}
}

func TestProcessesCannotForgeKills(t *testing.T) {
	var a Assembler
	if events := push(t, &a, "12,10,1000000,-;"+kill1122); len(events) != 0 {
		t.Errorf("a record of facility user made %+v", events)
	}
	if events := push(t, &a, "4,11,1000000,-;app: "+kill1122); len(events) != 0 {
		t.Errorf("a kill inside another message made %+v", events)
	}
}

func TestLostRecordsAreCounted(t *testing.T) {
	var a Assembler
	events := push(t, &a, "4,10,1000000,-;stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n3,15,1000001,-;"+kill1122)
	if got := events[0].Report.LostRecords; got != 4 {
		t.Errorf("lost records = %d, want 4", got)
	}
}
