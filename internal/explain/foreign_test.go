package explain

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/oomreport"
)

const (
	// foreignEnv names a folder with logs that others published, NN-NAME.log.
	// They are no part of the module: logs of unknown licence are read, not
	// copied.
	foreignEnv = "OOMLAB_FOREIGN_LOGS"
	// tableEnv names the file that gets a table of them, in Markdown.
	tableEnv = "OOMLAB_FOREIGN_TABLE"
)

// stated is what one report of such a log says and comes to.
type stated struct {
	dead  string // "name/pid" of those killed, or chosen where the log lacks the kill
	comes string // the agreement, and the victim's rank of so many processes
	lacks string // part of what the log lacks
	notes string // why the model disagrees or can't judge
}

const (
	noTable  = "not-judged"
	theTable = "the task table"
)

// foreignTold is what each report comes to, by the file's number. The victims
// are those that the log states; where its table is complete the ranks were
// computed by hand as well.
var foreignTold = map[string][]stated{
	"01": {{"doxygen/473206", "agrees 1 of 112", "", ""}},
	"03": {{"mysqld/6576", "agrees 1 of 85", "", ""}},
	"05": {{"memorymonster/13536", "agrees 1 of 1", "", ""}},
	"07": {{"gunpowder-memho/1381", "agrees 1 of 1", "", ""}, {"gunpowder-memho/1667", "agrees 1 of 1", "", ""}},
	"09": {{"cc1plus/29505", "agrees 1 of 96", "", ""}, {"emerge/19585", "agrees 1 of 84", "", ""}, {"emerge/29066", "agrees 1 of 77", "", ""}},
	"11": {{"pause/5740", "tie 1 of 21", "the header", "all points are negative, which that kernel raises to 1"}},
	"13": {{"stress/210", "agrees 1 of 3", "", ""}},
	"15": {{"leaker/2746", noTable, theTable, ""}, {"leaker/2746", noTable, theTable, ""}, {"leaker/3206", noTable, theTable, ""}},
	"17": {{"madvise09/539680", "agrees 1 of 2", "", ""}},
	"19": {{"dd/6911", "agrees 1 of 1", "\"Killed process\" line", ""}},
	"21": {{"sh/7991", "agrees 1 of 10", "", ""}},
	"23": {{"polkitd/348", "agrees 1 of 32", "", ""}, {"NetworkManager/304", "agrees 1 of 31", "", ""}, {"", noTable, "the oom-kill: line", "cut in the trace"}},
	"25": {{"ioctl_sg01/14622", "agrees 1 of 38", "", ""}},
	"27": {{"531/2102", "agrees 1 of 44", "", ""}},
	"29": {{"", noTable, "what ran out", "it states no victim"}},
	"31": {{"memcg_process/19289", "agrees 1 of 1", "", ""}},
	"33": {{"containerd/4100", noTable, theTable, ""}},
	"35": {{"a.out/13135", "explained 2 of 4", "the header", "a patched kernel ranks by a column of its own"}},
	"37": {{"agent:amservice/10192", "agrees 1 of 378", "", ""}},
	"39": {{"", "agrees", "the rows of the task table", "there was nobody to kill"}},
	"41": {{"stress/1122", "agrees 1 of 2", "", ""}},
	"43": {
		{"adb/177737", noTable, "the report about the kill", ""}, {"sh/177738", noTable, "the report about the kill", ""},
		{"adb/177739", noTable, "the report about the kill", ""}, {"sh/177740", noTable, "the report about the kill", ""},
		{"adb/177742", noTable, "the report about the kill", ""},
	},
	"45": {{"(sd-pam)/4503", noTable, theTable, ""}, {"", noTable, theTable, "cut in the trace"}},
	"47": {{"dhclient/4526", noTable, theTable, ""}, {"", noTable, theTable, "cut by a panic"}},
	"49": {{"qemu-system-x86/70870", "agrees 1 of 6", "", ""}},
	"51": {{"main/11344", "agrees 1 of 2", "", ""}},
	"53": {{"bash/4358", "agrees 1 of 1", "the header", ""}},
	"55": {{"", noTable, "the trace header", "cut, in another CPU's trace"}},
	"57": {{"stress/68061", noTable, "usage and limit", ""}},
	"59": {{"java/7537", "agrees 1 of 2", "", "the log names a thread"}},
	"61": {{"java/7093", noTable, theTable, ""}},
	"63": {{"colmap/43056", "agrees 1 of 2", "the size of the machine", ""}},
	"65": {{"java/28438", "agrees 1 of 1", "the header", ""}, {"", noTable, theTable, "cut"}},
	"67": {{"", noTable, "the oom-kill: line", "two lines"}},
	"69": {{"", noTable, "it is cut", "two lines"}},
	"71": {{"uwsgi/63214", noTable, "the report about the kill", ""}, {"", noTable, theTable, "cut in the trace"}},
	"73": {
		{"ksm04/22612", "explained", theTable, "vm.oom_kill_allocating_task"}, {"ksm04/22613", "explained", theTable, "vm.oom_kill_allocating_task"},
		{"ksm04/22614", "explained", theTable, "vm.oom_kill_allocating_task"}, {"ksm04/22593", "explained", theTable, "vm.oom_kill_allocating_task"},
	},
}

func TestForeignLogs(t *testing.T) {
	dir := os.Getenv(foreignEnv)
	if dir == "" {
		t.Skipf("%s names no folder of logs that others published: make foreign LOGS=DIRECTORY", foreignEnv)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no logs in %s", dir)
	}
	table := []string{
		"| log | kernel | prefix | ran out | the kernel's victim | rank | the model | the log lacks | |",
		"|---|---|---|---|---|---|---|---|---|",
	}
	for _, path := range paths {
		name := filepath.Base(path)
		number, _, _ := strings.Cut(name, "-")
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all, told := explainAll(t, log), foreignTold[number]
		if len(all) != len(told) {
			t.Errorf("%s: %d reports, want %d", name, len(all), len(told))
			continue
		}
		for i, e := range all {
			want := told[i]
			if got := dead(e); got != want.dead || summary(e) != want.comes {
				t.Errorf("%s, report %d: killed %q, %s; want %q, %s", name, i+1, got, summary(e), want.dead, want.comes)
			}
			if missing := strings.Join(e.Missing, "\n"); want.lacks == "" && missing != "" || !strings.Contains(missing, want.lacks) {
				t.Errorf("%s, report %d: missing %q, want %q", name, i+1, missing, want.lacks)
			}
			table = append(table, row(number, i, len(all), e, want))
		}
	}
	if file := os.Getenv(tableEnv); file != "" {
		if err := os.WriteFile(file, []byte(strings.Join(table, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func dead(e *Explanation) string {
	var out []string
	for _, k := range e.Killed {
		out = append(out, k.String())
	}
	if out == nil && e.Victim != nil {
		out = []string{e.Victim.String()}
	}
	return strings.Join(out, " ")
}

// row writes a report as a line of the table.
func row(number string, index, of int, e *Explanation, told stated) string {
	if of > 1 {
		number = fmt.Sprintf("%s.%d", number, index+1)
	}
	kernel, _, _ := strings.Cut(e.Kernel, "-")
	rank := "-"
	if e.Victim != nil && e.Victim.Rank > 0 {
		rank = fmt.Sprintf("%d of %d", e.Victim.Rank, len(e.Ranking))
	}
	var lacks []string
	for _, m := range e.Missing {
		head, _, _ := strings.Cut(m, ": ")
		lacks = append(lacks, head)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %s |", number, cmp.Or(kernel, "?"), prefixOf(e.At), cmp.Or(levelOf(e), "not told"),
		cmp.Or(dead(e), "not stated"), rank, e.Agreement, strings.Join(lacks, "; "), told.notes)
}

// prefixOf tells the form of a log by what its lines told.
func prefixOf(at oomreport.Position) string {
	switch {
	case at.Seq > 0:
		return "/dev/kmsg"
	case at.Host != "":
		return "syslog"
	case at.Stamp != "":
		return "wall clock"
	case at.Uptime > 0:
		return "dmesg"
	}
	return "none"
}

func levelOf(e *Explanation) string {
	switch e.RanOut.Constraint {
	case oomreport.ConstraintMemcg:
		if p := e.RanOut.Place; p != nil && p.Level != "" {
			return p.Level
		}
		return "a cgroup"
	case oomreport.ConstraintNone:
		return "the machine"
	case oomreport.ConstraintCpuset:
		return "a cpuset"
	case oomreport.ConstraintMemoryPolicy:
		return "a memory policy"
	}
	return ""
}
