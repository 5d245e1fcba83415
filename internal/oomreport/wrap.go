package oomreport

import "strings"

// unwrapper joins what mail programs and consoles have wrapped.
type unwrapper struct {
	pending logLine
	waiting bool // pending is set
	parts   int  // physical lines in pending
	columns int  // of the latest task table
	// flowed says that the wrapped lines of this log keep their blank, so that
	// a line without one was cut inside a word.
	flowed bool
}

const maxParts = 32

// add takes the next physical line and returns the line before it, if that is
// whole now.
func (u *unwrapper) add(l logLine) (whole logLine, ok bool) {
	if u.waiting && u.continues(l) {
		u.join(l)
		return logLine{}, false
	}
	whole, ok = u.flush()
	u.pending, u.waiting, u.parts = l, true, 1
	return whole, ok
}

// flush returns the line that waits.
func (u *unwrapper) flush() (logLine, bool) {
	l, ok := u.pending, u.waiting
	u.pending, u.waiting = logLine{}, false
	if ok && classify(l.Text) == columns {
		u.columns = len(strings.Fields(l.Text)) - len("[ pid ]")/3
	}
	return l, ok
}

// continues says that a line is the rest of the pending one. In a log with
// prefixes, whatever has none may be. In a log without, only what completes a
// line that is visibly cut.
func (u *unwrapper) continues(l logLine) bool {
	if l.prefixed || l.Text == "" || u.parts >= maxParts {
		return false
	}
	before := u.pending.Text
	if strings.TrimSpace(before) == "" {
		return u.pending.prefixed
	}
	if strings.HasPrefix(l.Text, "oom-killer: ") && strings.HasSuffix(before, " invoked") {
		return true
	}
	if classify(l.Text) != other {
		return false
	}
	return u.pending.prefixed || u.cut(before)
}

// cut says that a line lacks its end.
func (u *unwrapper) cut(s string) bool {
	lacks := func(end string) bool { return !strings.Contains(s, end) }
	switch classify(s) {
	case header:
		return lacks("oom_score_adj=")
	case columns:
		return lacks(" name")
	case row:
		return len(strings.Fields(strings.Replace(s, "[", " ", 1))) < u.columns+2
	case memory, memsw, swap, kmem:
		return lacks("failcnt ")
	case summary:
		return lacks(",uid=")
	case killed:
		return strings.HasSuffix(s, ",") || strings.HasSuffix(s, "(")
	}
	return strings.HasSuffix(s, ": Killed process") || strings.Contains(s, ": Killed process ") && lacks("file-rss:")
}

func (u *unwrapper) join(l logLine) {
	p := &u.pending
	u.parts++
	if strings.TrimSpace(p.Text) == "" {
		p.Text, p.blankEnd = l.Text, l.blankEnd
		return
	}
	if p.blankEnd {
		u.flowed = true
	}
	gap := "\n"
	if u.flowed && !p.blankEnd && (len(l.Text) <= maxName || classify(p.Text) != row) {
		gap = ""
	}
	p.Text = strings.TrimRight(p.Text, " ") + gap + l.Text
	p.blankEnd = l.blankEnd
}
