package oomreport

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// unwrapper joins what mail programs and consoles have wrapped.
type unwrapper struct {
	pending logLine
	waiting bool // pending is set
	parts   int  // physical lines in pending
	columns int  // of the latest task table
	// kept and eaten count the wrapped lines that kept the blank at their end,
	// and those that did not.
	kept, eaten int
	// widths counts the wrapped lines by their length, wrapped counts them all.
	widths  map[int]int
	wrapped int
}

const maxParts = 32

// screens are the usual widths of consoles. A line longer than wide is one of a
// terminal, too: people wrap at less.
var screens = []int{80, 100, 120}

const wide = 120

// full says that a line was cut because its screen was full, wherever that was:
// then nothing is missing between it and the next. Mail programs and people
// wrap at blanks, so that their lines differ in length.
func (u *unwrapper) full(width int) bool {
	alike := u.widths[width]
	usual := slices.Contains(screens, width)
	if width > wide {
		usual = true
		alike += u.widths[width-1] + u.widths[width+1] // a blank at the end may be lost
	}
	return alike >= 2 && alike*3 >= u.wrapped*2 || usual && alike*2 >= u.wrapped
}

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
	return u.pending.prefixed || u.cut(before) || classify(before) == killed && u.full(utf8.RuneCountInString(u.pending.whole))
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
	s = strings.ReplaceAll(s, "\n", " ") + " "
	begins := func(words string) bool { return strings.HasPrefix(s, words) }
	return begins("Task in ") && lacks(limitOf) || begins("Tasks in ") && lacks(groupSuffix) ||
		strings.HasSuffix(s, "Memory cgroup stats for ") || strings.HasSuffix(s, ": Killed process ")
}

func (u *unwrapper) join(l logLine) {
	p := &u.pending
	u.parts++
	width := utf8.RuneCountInString(p.whole)
	p.whole = l.whole
	hard := u.full(width)
	if u.widths == nil || len(u.widths) > maxLines {
		u.widths, u.wrapped = map[int]int{}, 0
	}
	u.widths[width]++
	u.wrapped++
	if hard {
		p.Text += l.whole
		return
	}
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
