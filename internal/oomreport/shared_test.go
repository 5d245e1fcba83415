package oomreport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedCorpus holds reports that others published. It is no part of the
// module: logs of unknown licence are read, not copied.
const sharedCorpus = "../../../shared/corpus"

// told is what a file of the shared corpus is known to say: for each report the
// processes "name/pid" killed, or only chosen where the log lacks the kill.
type told struct {
	reports []string
	lacks   string // part of what Missing says about the last report
}

// sharedTold follows INDEX.md of the corpus. An empty string is a report that
// names no victim.
var sharedTold = map[string]told{
	"01": {[]string{"doxygen/473206"}, ""},
	"03": {[]string{"mysqld/6576"}, ""},
	"05": {[]string{"memorymonster/13536"}, ""},
	"07": {[]string{"gunpowder-memho/1381", "gunpowder-memho/1667"}, ""},
	"09": {[]string{"cc1plus/29505", "emerge/19585", "emerge/29066"}, ""},
	"11": {[]string{"pause/5740"}, "the header"},
	"13": {[]string{"stress/210"}, ""},
	"15": {[]string{"leaker/2746", "leaker/2746", "leaker/3206"}, "the task table"},
	"17": {[]string{"madvise09/539680"}, ""},
	"19": {[]string{"dd/6911"}, "\"Killed process\" line"},
	"21": {[]string{"sh/7991"}, ""},
	"23": {[]string{"polkitd/348", "NetworkManager/304", ""}, "the oom-kill: line"},
	"25": {[]string{"ioctl_sg01/14622"}, ""},
	"27": {[]string{"531/2102"}, ""},
	"29": {[]string{""}, "what ran out"},
	"31": {[]string{"memcg_process/19289"}, ""},
	"33": {[]string{"containerd/4100"}, "the task table"},
	"35": {[]string{"a.out/13135"}, "the header"},
	"37": {[]string{"agent:amservice/10192"}, ""},
	"39": {[]string{""}, "the rows of the task table"},
	"41": {[]string{"stress/1122"}, ""},
	"43": {[]string{"adb/177737", "sh/177738", "adb/177739", "sh/177740", "adb/177742"}, "the report about the kill"},
	"45": {[]string{"(sd-pam)/4503", ""}, "the task table"},
	"47": {[]string{"dhclient/4526", ""}, "the task table"},
	"49": {[]string{"qemu-system-x86/70870"}, ""},
	"51": {[]string{"main/11344"}, ""},
	"53": {[]string{"bash/4358"}, "the header"},
	"55": {[]string{""}, "the trace header"},
	"57": {[]string{"stress/68061"}, "usage and limit"},
	"59": {[]string{"java/7537"}, ""},
	"61": {[]string{"java/7093"}, "the task table"},
	"63": {[]string{"colmap/43056"}, "the size of the machine"},
	"65": {[]string{"java/28438", ""}, "the task table"},
	"67": {[]string{""}, "the oom-kill: line"},
	"69": {[]string{""}, "it is cut"},
	"71": {[]string{"uwsgi/63214", ""}, "the task table"},
	"73": {[]string{"ksm04/22612", "ksm04/22613", "ksm04/22614", "ksm04/22593"}, "the task table"},
}

func TestSharedCorpus(t *testing.T) {
	paths, err := filepath.Glob(sharedCorpus + "/*.log")
	if err != nil || len(paths) == 0 {
		t.Skipf("no logs in %s", sharedCorpus)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			number, _, _ := strings.Cut(filepath.Base(path), "-")
			want, ok := sharedTold[number]
			if !ok {
				t.Fatal("not in the table: add what INDEX.md says about it")
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			reports, err := Parse(f)
			if err != nil || len(reports) != len(want.reports) {
				t.Fatalf("%d reports, %v; want %d", len(reports), err, len(want.reports))
			}
			for i, r := range reports {
				if got := dead(r); got != want.reports[i] {
					t.Errorf("report %d killed %q, want %q", i, got, want.reports[i])
				}
			}
			missing := strings.Join(reports[len(reports)-1].Missing, "\n")
			if want.lacks == "" && missing != "" || !strings.Contains(missing, want.lacks) {
				t.Errorf("missing:\n%s\nwant %q", missing, want.lacks)
			}
		})
	}
}

func dead(r *Report) string {
	var out []string
	for _, k := range r.Kills {
		out = append(out, Process{k.PID, k.Name}.String())
	}
	if out == nil && r.Victim != nil {
		out = append(out, Process{r.Victim.PID, r.Victim.Name}.String())
	}
	return strings.Join(out, " ")
}
