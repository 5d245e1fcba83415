package oomreport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// field puts the number of one column into a row.
type field func(*Task, int64)

// fields are the columns that kernels have printed (mm/oom_kill.c, dump_tasks
// and dump_task).
var fields = map[string]field{
	"uid":            func(t *Task, n int64) { t.UID = uint32(n) },
	"tgid":           func(t *Task, n int64) { t.TGID = int(n) },
	"total_vm":       func(t *Task, n int64) { t.TotalVM = mem.Pages(n) },
	"rss":            func(t *Task, n int64) { t.RSS = mem.Pages(n) },
	"rss_anon":       func(t *Task, n int64) { t.by().Anon = mem.Pages(n) },
	"rss_file":       func(t *Task, n int64) { t.by().File = mem.Pages(n) },
	"rss_shmem":      func(t *Task, n int64) { t.by().Shmem = mem.Pages(n) },
	"pgtables_bytes": func(t *Task, n int64) { t.PgtablesBytes = mem.Bytes(n) },
	"nr_ptes":        func(t *Task, n int64) { t.PgtablesPages += mem.Pages(n) },
	"nr_pmds":        func(t *Task, n int64) { t.PgtablesPages += mem.Pages(n) },
	"nr_puds":        func(t *Task, n int64) { t.PgtablesPages += mem.Pages(n) },
	"swapents":       func(t *Task, n int64) { t.SwapEnts = mem.Pages(n) },
	"oom_score_adj":  func(t *Task, n int64) { t.OOMScoreAdj = int(n) },
}

func (t *Task) by() *RSSBy {
	if t.RSSBy == nil {
		t.RSSBy = &RSSBy{}
	}
	return t.RSSBy
}

// parseColumns reads "[  pid  ]   uid  tgid … oom_score_adj name" into the
// headings between pid and name. The result is nil where the line is no heading.
func parseColumns(s string) []string {
	_, rest, _ := strings.Cut(s, "]")
	names := strings.Fields(rest)
	if len(names) < 2 || names[0] != "uid" || names[len(names)-1] != "name" {
		return nil
	}
	names = names[:len(names)-1]
	// A heading that lost words would give the numbers to wrong columns.
	for _, always := range []string{"tgid", "total_vm", "rss", "swapents", "oom_score_adj"} {
		if !slices.Contains(names, always) {
			return nil
		}
	}
	anon, file := slices.Contains(names, "rss_anon"), slices.Contains(names, "rss_file")
	if shmem := slices.Contains(names, "rss_shmem"); anon != file || file != shmem {
		return nil
	}
	return names
}

// layoutOf returns what to do with each column: nothing with those that only a
// patched kernel has.
func layoutOf(columns []string) []field {
	var layout []field
	for _, name := range columns {
		layout = append(layout, fields[name])
	}
	return layout
}

// parseRow reads "[  16853]     0  16853   314412 …   300 balloon".
func parseRow(s string, layout []field) (t Task, ok bool) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(s, "["), "]")
	t.PID, ok = parse[int](strings.TrimSpace(id))
	if !ok || t.PID <= 0 || len(layout) == 0 {
		return Task{}, false
	}
	for _, put := range layout {
		rest = strings.TrimLeft(rest, " \t\n")
		end := strings.IndexAny(rest, " \t\n")
		if end < 0 {
			return Task{}, false
		}
		n, err := strconv.ParseInt(rest[:end], 10, 64)
		if err != nil {
			return Task{}, false
		}
		if put != nil {
			put(&t, n)
		}
		rest = rest[end:]
	}
	t.Name = strings.Clone(rowName(rest))
	return t, true
}

// rowName is the rest of a row: one blank and the name, which may have blanks
// of its own. What a wrapped log has after a line feed is part of the name if
// it fits, else a line of another origin.
func rowName(s string) string {
	s = strings.TrimSpace(s)
	if name := strings.ReplaceAll(s, "\n", " "); len(name) <= maxName {
		return name
	}
	s, _, _ = strings.Cut(s, "\n")
	return s
}
