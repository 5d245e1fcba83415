package oomreport

import "strings"

// unwrapper joins what mail programs and consoles have wrapped.
type unwrapper struct {
	pending logLine
	waiting bool // pending is set
	parts   int  // physical lines in pending
	columns int  // of the latest task table
	// kept and eaten count the wrapped lines that kept the blank at their end,
	// and those that did not.
	kept, eaten int
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
		u.columns = len(parseColumns(l.Text))
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
		// The pid, the columns and the name; "[ 16853]" counts as one word.
		return len(strings.Fields(s[1:])) < 1+u.columns+1
	case memory, memsw, swap, kmem:
		return lacks("failcnt ")
	case summary:
		return lacks(",uid=")
	case killed:
		return lacks("file-rss:") || strings.HasSuffix(s, ",")
	}
	return strings.HasSuffix(s, ": Killed process")
}

func (u *unwrapper) join(l logLine) {
	p := &u.pending
	u.parts++
	if strings.TrimSpace(p.Text) == "" {
		p.Text, p.blankEnd = l.Text, l.blankEnd
		return
	}
	if !strings.Contains(p.Text, "  ") { // of two blanks, one stays anyway
		if p.blankEnd {
			u.kept++
		} else {
			u.eaten++
		}
	}
	gap := "\n"
	if u.kept > u.eaten && !p.blankEnd && (len(l.Text) <= maxName || classify(p.Text) != row) {
		gap = "" // cut inside a word
	}
	p.Text = strings.TrimRight(p.Text, " ") + gap + l.Text
	p.blankEnd = l.blankEnd
}
