package oomreport

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzParse looks for panics, and for reports that claim what they cannot.
func FuzzParse(f *testing.F) {
	for _, a := range corpus(f) {
		f.Add(file(a, "log"))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		reports, err := Parse(bytes.NewReader(log))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			checkReport(t, log, r)
		}
	})
}

func checkReport(t *testing.T, log []byte, r *Report) {
	t.Helper()
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("no JSON: %v", err)
	}
	lines := bytes.Count(log, []byte{'\n'}) + 1
	if r.At.Line < 1 || r.At.Line > lines {
		t.Errorf("report at line %d of %d", r.At.Line, lines)
	}
	if r.Domain != "" && r.Global {
		t.Errorf("a cgroup %q and the whole machine ran out", r.Domain)
	}
	if len(r.Kills) == 0 && !r.NoKillable && len(r.Missing) == 0 {
		t.Error("no kill, and nothing is missing")
	}
	pids := make(map[int]bool)
	for _, task := range r.Tasks {
		if task.PID <= 0 || pids[task.PID] || len(task.Name) > maxName && utf8.ValidString(task.Name) && len(r.Columns) == 0 {
			t.Errorf("row %+v", task)
		}
		pids[task.PID] = true
	}
	for _, k := range r.Kills {
		if k.Times < 1 || k.TotalVM < 0 || k.AnonRSS < 0 {
			t.Errorf("kill %+v", k)
		}
	}
}

// FuzzLine looks for panics in what takes a single line apart.
func FuzzLine(f *testing.F) {
	for _, format := range formats {
		f.Add(format(Record{Text: "Memory cgroup out of memory: Killed process 1 (a) total-vm:4kB, anon-rss:0kB, file-rss:0kB"}))
	}
	f.Fuzz(func(t *testing.T, s string) {
		total := 0
		for _, l := range splitLine(s) {
			total += len(l.Text)
		}
		if total > 3*len(s) { // JSON that is not UTF-8 grows to U+FFFD
			t.Errorf("%q became longer: %d bytes", s, total)
		}
	})
}
