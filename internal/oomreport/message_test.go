package oomreport

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
)

func TestClassify(t *testing.T) {
	for text, want := range map[string]kind{
		"dd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0": header,
		// A name of 15 bytes cannot pass for another kind.
		"Killed process  invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0": header,
		"oom-kill:constrai invoked oom-killer: gfp_mask=0x0, order=0":                header,
		"oom_kill_process: 3 callbacks suppressed":                                   suppressed,
		"Task in /a killed as a result of limit of /":                                taskIn,
		"Memory cgroup stats for /a: cache:0KB":                                      statsHead,
		"[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name":  columns,
		"[    1]     0     1 1 1 1 1 1 init":                                         row,
		"Memory cgroup out of memory: Killed process 1 (a) total-vm:4kB":             killed,
		"Killed process 1 (a) total-vm:4kB, anon-rss:0kB, file-rss:0kB":              killed,
		"Out of memory (oom_kill_allocating_task): Kill process 1 (a) score 0":       selection,
		"Memory cgroup out of memory: OOM victim 1 (a) is already exiting.":          exiting,
		"Kernel panic - not syncing: Out of memory: compulsory panic_on_oom":         panicked,
		"Kernel panic - not syncing: Fatal hardware memory error!":                   other,
		"app said: Out of memory: Killed process 1 (a) total-vm:4kB":                 other,
		"Out of memory: Could not allocate":                                          other,
		"":                                                                           other,
	} {
		if got := classify(text); got != want {
			t.Errorf("classify(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestVictimWithHostileNames(t *testing.T) {
	for text, want := range map[string]*Victim{
		",global_oom,task_memcg=/a,task=dd,pid=7,uid=0":                  {Memcg: "/a", Name: "dd", PID: 7, UID: new(uint32(0))},
		",task_memcg=/a,task=,pid=1,uid=0,pid=7,uid=9":                   {Memcg: "/a", Name: ",pid=1,uid=0", PID: 7, UID: new(uint32(9))},
		",task_memcg=/n,task=x,task=a b ((c)) ,pid=7,uid=0":              {Memcg: "/n,task=x", Name: "a b ((c)) ", PID: 7, UID: new(uint32(0))},
		"constraint=CONSTRAINT_NONE,nodemask=(null),task=sh,pid=7,uid=0": {Name: "sh", PID: 7, UID: new(uint32(0))},
		",task_memcg=/a,task=dd,pid=7":                                   nil,
		",task_memcg=/a,task=dd,pid=7,uid=":                              nil,
		",task_memcg=/a,task=dd,pid=99999999999999999999,uid=0":          nil,
	} {
		if diff := cmp.Diff(want, parseVictim(text)); diff != "" {
			t.Errorf("parseVictim(%q) (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseKill(t *testing.T) {
	const sizes = " total-vm:8kB, anon-rss:4kB, file-rss:0kB"
	for text, want := range map[string]Process{
		"Out of memory: Killed process 7 ((sd-pam))" + sizes:        {7, "(sd-pam)"},
		"Out of memory: Killed process 7 (a) total-vm:1kB)" + sizes: {7, "a) total-vm:1kB"},
		"Out of memory: Killed process 7 ()" + sizes:                {7, ""},
		"Killed process 7, UID 48, (httpd)" + sizes:                 {7, "httpd"},
		"Killed process 7 (httpd), UID 48," + sizes:                 {7, "httpd"},
		"Killed process 7 (a), UID b), UID 48," + sizes:             {7, "a), UID b"},
	} {
		k := parseKill(text)
		if k == nil || (Process{k.PID, k.Name}) != want || k.TotalVM != 8*mem.KiB || k.AnonRSS != 4*mem.KiB {
			t.Errorf("parseKill(%q) = %+v, want %v", text, k, want)
		}
	}
	for _, text := range []string{"Killed process 7, UID 48, (httpd)", "Killed process 7 (httpd), UID 48,"} {
		if k := parseKill(text + sizes); k.UID == nil || *k.UID != 48 {
			t.Errorf("%s: UID = %v, want 48", text, k.UID)
		}
	}
	for _, text := range []string{
		"Out of memory: Killed process 7 (a", "Out of memory: Killed process x (a)" + sizes,
		"Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4",
		"Out of memory: Killed process 7 (a) total-vm:8MB, anon-rss:4kB, file-rss:0kB",
	} {
		if k := parseKill(text); k != nil {
			t.Errorf("parseKill(%q) = %+v, want nil", text, k)
		}
	}
}

func TestCounterLimitTellsUnlimited(t *testing.T) {
	for text, want := range map[string]mem.Limit{
		"memory: usage 4kB, limit 4kB, failcnt 0":                 mem.LimitOf(4096),
		"memory: usage 4kB, limit 0kB, failcnt 0":                 mem.LimitOf(0),
		"memory: usage 4kB, limit 9007199254740988kB, failcnt 0":  mem.Max, // 4 KiB pages
		"memory: usage 4kB, limit 9007199254740928kB, failcnt 0":  mem.Max, // 64 KiB pages
		"memory: usage 4kB, limit 18014398509481983kB, failcnt 0": mem.Max, // before 3.19
		"memory: usage 4kB, limit 8589934588kB, failcnt 0":        mem.Max, // 32 bit
		"memory: usage 4kB, limit 8589934592kB, failcnt 0":        mem.LimitOf(8 * mem.TiB),
	} {
		if c, ok := parseCounter(text); !ok || c.Limit != want {
			t.Errorf("parseCounter(%q) = %v, %v; want %v", text, c.Limit, ok, want)
		}
	}
	if c, ok := parseCounter("memory: usage 4kB, limit 4"); ok {
		t.Errorf("a cut line gave %+v", c)
	}
}

func TestParseRowNeedsItsColumns(t *testing.T) {
	head := parseColumns("[  pid  ]   uid  tgid total_vm      rss (01)nrss  pgtables_bytes swapents oom_score_adj name")
	if len(head) != 8 {
		t.Fatalf("columns = %q, want 8 with the patched one", head)
	}
	got, ok := parseRow("[    7]  1000     7       40       30   99    8192      2           -17 a b", layoutOf(head))
	want := Task{PID: 7, UID: 1000, TGID: 7, TotalVM: 40, RSS: 30, PgtablesBytes: 8192, SwapEnts: 2, OOMScoreAdj: -17, Name: "a b"}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	for _, text := range []string{
		"[    7]  1000     7       40       30   99    8192      2", "[    7]  1000     7  x  30 99 8192 2 0 a",
		"[  -7]  1000     7       40       30   99    8192      2  0 a", "[ 1.5] 1 1 1 1 1 1 1 1 a",
	} {
		if got, ok := parseRow(text, layoutOf(head)); ok {
			t.Errorf("parseRow(%q) = %+v, want none", text, got)
		}
	}
	for _, text := range []string{
		"[  pid  ]   uid  tgid total_vm      rss rss_anonrss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
		"[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj",
		"[  pid  ]   uid  tgid total_vm pgtables_bytes swapents oom_score_adj name",
	} {
		if head := parseColumns(text); head != nil {
			t.Errorf("parseColumns(%q) = %q, want none", text, head)
		}
	}
}
