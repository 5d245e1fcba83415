package oomreport

import "strings"

// parseHeader reads the first line of a report. What a cut line lacks stays
// absent.
func parseHeader(s string) *Trigger {
	name, rest, _ := strings.Cut(s, headerMark)
	t := &Trigger{}
	if len(name) <= maxName { // else a prefix that splitLine does not know
		t.Name = name
	}
	if mask, ok := value(rest, "gfp_mask="); ok {
		t.GFPMask, t.GFPFlags, _ = strings.Cut(mask, "(")
		t.GFPFlags = strings.TrimSuffix(t.GFPFlags, ")")
	}
	if n, ok := number[int](rest, "order="); ok {
		t.Order = &n
	}
	if n, ok := number[int](rest, "oom_score_adj="); ok {
		t.OOMScoreAdj = &n
	}
	return t
}

// traceHeader is the first line of a stack trace (dump_stack_print_info).
type traceHeader struct {
	cpu, pid int
	name     string
	kernel   string
}

func parseTrace(s string) (h traceHeader, ok bool) {
	h.cpu, ok = number[int](s, "CPU: ")
	if !ok {
		return h, false
	}
	if h.pid, ok = number[int](s, " PID: "); !ok {
		return h, false
	}
	_, rest, ok := strings.Cut(s, " Comm: ")
	if !ok {
		return h, false
	}
	// "Kdump: loaded", "Not tainted" and "Tainted: G W" follow the name.
	end := len(rest)
	for _, mark := range []string{" Kdump: ", " Not tainted", " Tainted: "} {
		if i := strings.LastIndex(rest, mark); i >= 0 && i < end {
			end = i
		}
	}
	h.name = strings.TrimSpace(rest[:end])
	for _, word := range strings.Fields(rest[end:]) {
		if isRelease(word) {
			h.kernel = word
			break
		}
	}
	return h, true
}

// isRelease says whether a word looks like a kernel release: "6.1.1-arch1-1".
func isRelease(s string) bool {
	major, rest, ok := strings.Cut(s, ".")
	return ok && isDigits(major) && rest != "" && rest[0] >= '0' && rest[0] <= '9'
}
