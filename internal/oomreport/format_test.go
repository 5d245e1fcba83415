package oomreport

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oomlab/oomlab/internal/mem"
)

// records returns the records of a log of the corpus that was read from
// /dev/kmsg.
func records(t testing.TB, path string) []Record {
	t.Helper()
	a, ok := corpus(t)[path]
	if !ok {
		t.Fatalf("no %s in the corpus", path)
	}
	var rs []Record
	for line := range strings.Lines(string(file(a, "log"))) {
		r, ok := ParseKmsg(strings.TrimSuffix(line, "\n"))
		if !ok {
			t.Fatalf("%s: %q is no record", path, line)
		}
		rs = append(rs, r)
	}
	return rs
}

func parseLog(t *testing.T, log string) []*Report {
	t.Helper()
	reports, err := Parse(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

// ignoreWhere compares what reports say, not where they stand.
var ignoreWhere = cmp.Options{cmpopts.IgnoreTypes(Position{}), cmpopts.EquateComparable(mem.Limit{})}

// wrap breaks a line at blanks, as a mail program does. A flowed line keeps its
// blank.
func wrap(s string, width int, flowed bool) string {
	var out []string
	for len(s) > width {
		i := strings.LastIndexByte(s[:width], ' ')
		if i < 20 {
			break
		}
		end := i
		if flowed {
			end++
		}
		out, s = append(out, s[:end]), s[i+1:]
	}
	return strings.Join(append(out, s), "\n")
}

// fill breaks a line where a screen is full.
func fill(s string, width int) string {
	var out []string
	for len(s) > width {
		out, s = append(out, s[:width]), s[width:]
	}
	return strings.Join(append(out, s), "\n")
}

// formats are the ways in which people keep kernel logs.
var formats = map[string]func(r Record) string{
	"kmsg": func(r Record) string {
		return fmt.Sprintf("6,%d,%d,-,caller=T1;%s", r.Seq, r.Uptime.Microseconds(), r.Text)
	},
	"bare":             func(r Record) string { return r.Text },
	"dmesg":            func(r Record) string { return printk(r) },
	"dmesg caller":     func(r Record) string { return stamp(r, "[%5d.%06d][  T812] ") + r.Text },
	"dmesg -T":         func(r Record) string { return "[Fri Sep 25 15:29:32 2020] " + r.Text },
	"dmesg -T French":  func(r Record) string { return "[dim. 19 avril 18:03:30 2026] " + r.Text },
	"dmesg -T Chinese": func(r Record) string { return "[五 9月 25 15:29:32 2020] " + r.Text },
	"dmesg -H":         func(r Record) string { return "[  +0.000002] " + r.Text },
	"dmesg -d":         func(r Record) string { return stamp(r, "[%5d.%06d <    0.000002>] ") + r.Text },
	"dmesg -x":         func(r Record) string { return "kern  :warn  : " + printk(r) },
	"dmesg -r":         func(r Record) string { return "<4>" + printk(r) },
	"dmesg iso":        func(r Record) string { return "2025-06-24T18:49:43,123456+00:00 " + r.Text },
	"dmesg colour": func(r Record) string {
		return "\x1b[32m" + stamp(r, "[%5d.%06d] ") + "\x1b[0m\x1b[1m" + r.Text + "\x1b[0m"
	},
	"journalctl":      func(r Record) string { return "Jun 24 18:49:43 node-1 kernel: " + r.Text },
	"journalctl de":   func(r Record) string { return "Mär 24 18:49:43 node-1 kernel: " + r.Text },
	"journalctl iso":  func(r Record) string { return "2025-06-24T18:49:43+0000 node-1 kernel: " + r.Text },
	"journalctl full": func(r Record) string { return "Tue 2025-06-24 18:49:43 UTC node-1 kernel: " + r.Text },
	"journalctl unix": func(r Record) string { return "1750790983.405414 node-1 kernel: " + r.Text },
	"journalctl mono": func(r Record) string { return stamp(r, "[%5d.%06d] ") + "node-1 kernel: " + r.Text },
	"journalctl json": func(r Record) string {
		if strings.Contains(r.Text, "PID:") { // as if it were not UTF-8
			numbers := strings.ReplaceAll(strings.Trim(fmt.Sprint([]byte(r.Text)), "[]"), " ", ",") //nolint:staticcheck // as numbers, not as text
			return `{"_TRANSPORT":"kernel","_HOSTNAME":"n","MESSAGE":[` + numbers + `]}`
		}
		return fmt.Sprintf(`{"MESSAGE":%s,"_TRANSPORT":"kernel","_HOSTNAME":"n","__REALTIME_TIMESTAMP":"1","_SOURCE_MONOTONIC_TIMESTAMP":"%d"}`, quote(r.Text), r.Uptime.Microseconds())
	},
	"journalctl json-pretty": func(r Record) string {
		return "{\n\t\"_TRANSPORT\" : \"kernel\",\n\t\"PRIORITY\" : \"4\",\n\t\"MESSAGE\" : " + quote(r.Text) + ",\n\t\"_HOSTNAME\" : \"n\"\n}"
	},
	"journalctl json-seq": func(r Record) string { return "\x1e" + `{"_TRANSPORT":"kernel","MESSAGE":` + quote(r.Text) + "}" },
	"journalctl json-sse": func(r Record) string { return `data: {"_TRANSPORT":"kernel","MESSAGE":` + quote(r.Text) + "}\n" },
	"journalctl export": func(r Record) string {
		return "__CURSOR=s=1;i=2\n_TRANSPORT=kernel\nMESSAGE=" + r.Text + "\nPRIORITY=4\n"
	},
	"journalctl verbose": func(r Record) string {
		return "Tue 2025-06-24 18:49:43.123456 UTC [s=1;i=2]\n    _TRANSPORT=kernel\n    MESSAGE=" + r.Text + "\n    PRIORITY=4"
	},
	"dmesg json": func(r Record) string {
		return "      {\n         \"pri\": 4,\n" + stamp(r, "         \"time\": %5d.%06d,\n") + "         \"msg\": " + quote(r.Text) + "\n      },"
	},
	"Google Cloud": func(r Record) string {
		return `{"jsonPayload":{"MESSAGE":` + quote(r.Text) + `,"_TRANSPORT":"kernel"},"timestamp":"2025-06-24T18:49:43Z"}`
	},
	"text payload": func(r Record) string { return `{"textPayload":` + quote(printk(r)) + `}` },
	"shipper":      func(r Record) string { return `{"message":` + quote(printk(r)+"\n") + `,"host":{"name":"n"}}` },
	"many in JSON": func(r Record) string {
		return `{"message":` + quote("[    1.000000] eth0: link up\n"+printk(r)+"\n[    1.000000] eth0: link down") + `}`
	},
	"JSON strings": func(r Record) string { return "    " + quote(printk(r)) + "," },
	"with labels":  func(r Record) string { return "2025-06-24T18:49:43Z\t{job=\"systemd\"}\t" + printk(r) },
	"kmsg continued": func(r Record) string {
		return fmt.Sprintf("6,%d,%d,-;%s\n SUBSYSTEM=memory\n DEVICE=c1:2", r.Seq, r.Uptime.Microseconds(), r.Text)
	},
	"syslog data": func(r Record) string {
		return `<4>1 2025-06-24T18:49:43Z node-1 kernel - - [meta sequenceId="7"] ` + printk(r)
	},
	"talos nodes":   func(r Record) string { return "10.0.0.1: kern: warning: [2025-05-18T15:40:20.653515542Z]: " + r.Text },
	"HTML":          func(r Record) string { return html.EscapeString("> "+printk(r)) + "<br>" },
	"HTML entities": func(r Record) string { return strings.ReplaceAll(printk(r), "  ", "&nbsp; ") },
	"tabs":          func(r Record) string { return strings.ReplaceAll(printk(r), "  ", "\t") },
	"bracket lost":  func(r Record) string { return strings.TrimLeft(printk(r), "[ ") },
	"80 columns":    func(r Record) string { return fill(printk(r), 80) },
	"177 columns":   func(r Record) string { return fill("Jun 24 18:49:43 node-1 kernel: "+printk(r), 177) },
	"80 bare":       func(r Record) string { return fill(r.Text, 80) },
	"syslog":        func(r Record) string { return "Jun  4 18:49:43 node-1 kernel: " + printk(r) },
	"syslog nohost": func(r Record) string { return "Jan  5 15:19:27 kernel: " + printk(r) },
	"syslog 3339":   func(r Record) string { return "2025-06-24T18:49:43.123456+02:00 node-1 kernel: " + printk(r) },
	"syslog 5424":   func(r Record) string { return "<4>1 2025-06-24T18:49:43.123456+02:00 node-1 kernel - - - " + printk(r) },
	"logread":       func(r Record) string { return "Tue Jun 24 18:49:43 2025 kern.warn kernel: " + printk(r) },
	"talos":         func(r Record) string { return " kern: warning: [2025-05-18T15:40:20.653515542Z]: " + r.Text + "     " },
	"CRI":           func(r Record) string { return "2025-06-24T18:49:43.123456789Z stdout F " + printk(r) },
	"docker": func(r Record) string {
		return `{"log":` + quote(printk(r)+"\n") + `,"stream":"stdout","time":"2025-06-24T18:49:43Z"}`
	},
	"docker syslog": func(r Record) string {
		return `{"log":` + quote("Jun 24 18:49:43 node-1 kernel: "+r.Text+"\n") + `,"stream":"stdout","time":"2025-06-24T18:49:43Z"}`
	},
	"kubectl logs":   func(r Record) string { return "[pod/dmesg-x7/main] " + printk(r) },
	"compose":        func(r Record) string { return "dmesg-1  | " + printk(r) },
	"CI":             func(r Record) string { return "2025-06-24T18:49:43.1234567Z " + printk(r) },
	"grep -n":        func(r Record) string { return "1234:" + printk(r) },
	"quoted":         func(r Record) string { return "> > " + printk(r) },
	"code block":     func(r Record) string { return "    " + printk(r) },
	"HTML blanks":    func(r Record) string { return strings.ReplaceAll(printk(r), "  ", "\u00a0 ") },
	"CRLF":           func(r Record) string { return printk(r) + "\r" },
	"console":        func(r Record) string { return "Loading ... 43%" + printk(r) },
	"wrapped":        func(r Record) string { return wrap(printk(r), 72, false) },
	"flowed":         func(r Record) string { return wrap(printk(r), 72, true) },
	"wrapped bare":   func(r Record) string { return wrap(r.Text, 72, false) },
	"wrapped syslog": func(r Record) string { return wrap("Jun 24 18:49:43 node-1 kernel: "+r.Text, 80, false) },
	"quoted wrapped": func(r Record) string { return "> " + strings.ReplaceAll(wrap(printk(r), 70, false), "\n", "\n> ") },
	"other programs": func(r Record) string {
		return "Jun 24 18:49:43 node-1 app[7]: Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB, file-rss:0kB\n" +
			"Jun 24 18:49:43 node-1 kernel: " + r.Text
	},
	"other kernel lines": func(r Record) string {
		return "[    1.000000] CPU: 3 PID: 7 Comm: other Not tainted 1.2.3 #1\n" + printk(r) + "\n[    1.000000] eth0: link up"
	},
}

func stamp(r Record, format string) string {
	us := r.Uptime.Microseconds()
	return fmt.Sprintf(format, us/1e6, us%1e6)
}

func printk(r Record) string { return stamp(r, "[%5d.%06d] ") + r.Text }

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// The same report must come out of every format.
func TestEveryFormatTellsTheSame(t *testing.T) {
	for _, path := range []string{"testdata/pod-limit.txtar", "testdata/shmem.txtar"} {
		rs := records(t, path)
		var a Assembler
		var want []*Report
		for _, r := range rs {
			want = appendClosed(want, a.Push(r))
		}
		want = appendClosed(want, a.Close())
		for name, format := range formats {
			t.Run(path+"/"+name, func(t *testing.T) {
				var log strings.Builder
				for _, r := range rs {
					fmt.Fprintln(&log, format(r))
				}
				if diff := cmp.Diff(want, parseLog(t, log.String()), ignoreWhere); diff != "" {
					t.Errorf("reports (-kmsg +%s):\n%s", name, diff)
				}
			})
		}
	}
}

func appendClosed(reports []*Report, events []Event) []*Report {
	for _, e := range events {
		if e.Kind == Closed {
			reports = append(reports, e.Report)
		}
	}
	return reports
}
