package oomreport

import (
	"cmp"
	"strings"
)

// logLine is a physical line of a log file, taken apart.
type logLine struct {
	Record
	// prefixed says that something in front of the text shows where a line
	// begins. A line without it may be the rest of a wrapped one.
	prefixed bool
	// blankEnd says that the line ended with a blank.
	blankEnd bool
	// whole is the line as it stands in the file, quotation marks included.
	whole string
	// tagged says that the line names the program that wrote it.
	tagged bool
}

// splitLine takes a line of a file apart. What wraps lines in JSON may have
// several in one.
func splitLine(s string) []logLine {
	s = strings.TrimRight(s, "\r\n")
	s = unstyled(s)
	outer := logLine{whole: s}
	s = trimQuotes(s)
	text, raw := outer.cutWrapper(s)
	if !strings.Contains(text, "\n") {
		outer.split(text, raw)
		return []logLine{outer}
	}
	var lines []logLine
	for part := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		l := outer
		l.split(strings.TrimRight(part, "\r"), raw)
		lines = append(lines, l)
	}
	return lines
}

// split takes the prefixes off a line, the outermost first: container runtime,
// priority, time and host, tag, printk time, caller. Each is taken once, so that
// a process cannot hide its name behind one more. raw says that there are none.
func (l *logLine) split(s string, raw bool) {
	l.blankEnd = strings.HasSuffix(s, " ")
	if raw {
		l.Text = s
		return
	}
	if r, ok := ParseKmsg(s); ok {
		r.Host = l.Host
		l.Record, l.prefixed = r, true
		return
	}
	if isField(s) && classify(s) == other {
		l.prefixed, l.Userspace = true, true
		return
	}
	s = strings.ReplaceAll(s, "\t", " ") // between columns of text
	s = l.cutRuntime(s)
	s = l.cutPriority(s)
	s = l.cutTime(s)
	s = l.cutTag(s)
	s = l.cutPrintk(s)
	if (!l.prefixed || l.Uptime == 0 && !l.tagged) && strange(s) {
		s = l.cutConsole(s)
	}
	l.Text = strings.TrimLeft(s, " \t")
}

// strange says that a line has something before its text that is no known
// prefix: nothing stands there but a process name.
func strange(s string) bool {
	name, _, header := strings.Cut(s, headerMark)
	return header && len(name) > maxName || !header && classify(strings.TrimLeft(s, " \t")) == other
}

// cutRuntime takes off "2025-06-24T18:49:43.1Z stdout F " of CRI runtimes,
// "[pod/name/container] " of `kubectl logs --prefix` and "name | " of compose.
func (l *logLine) cutRuntime(s string) string {
	if strings.HasPrefix(s, "[pod/") {
		if _, rest, ok := strings.Cut(s, "] "); ok {
			l.prefixed, s = true, rest
		}
	}
	if name, rest, ok := strings.Cut(s, " | "); ok && name != "" && !strings.ContainsAny(strings.TrimRight(name, " "), " [:") {
		l.prefixed, s = true, rest
	}
	stamp, rest, _ := strings.Cut(s, " ")
	for _, stream := range []string{"stdout F ", "stderr F ", "stdout P ", "stderr P "} {
		if text, ok := strings.CutPrefix(rest, stream); ok && isISODate(stamp) {
			l.prefixed, l.Stamp = true, stamp
			return text
		}
	}
	return s
}

// cutPriority takes off "<4>" (a console, `dmesg -r`, syslog) and "kern  :warn
// : " (`dmesg -x`, Talos, which may put a node before it). A facility other than
// kern is not the kernel's.
func (l *logLine) cutPriority(s string) string {
	if strings.HasPrefix(s, "<") {
		text, rest, ok := strings.Cut(s[1:], ">")
		if n, isNumber := parse[int](text); ok && isNumber {
			l.prefixed, l.Userspace = true, l.Userspace || n >= 8
			// RFC 5424 has its version next.
			s = strings.TrimPrefix(rest, "1 ")
		}
	}
	if node, rest, ok := strings.Cut(s, ": "); ok && !strings.ContainsAny(node, " [") {
		if facility, _, ok := strings.Cut(rest, ":"); ok && facility == "kern" {
			l.Host, s = node, rest
		}
	}
	facility, rest, ok := strings.Cut(s, ":")
	facility = strings.TrimSpace(facility)
	if !ok || !facilities[facility] {
		return s
	}
	level, rest, ok := strings.Cut(rest, ":")
	if !ok || !levels[strings.TrimSpace(level)] {
		return s
	}
	l.prefixed, l.Userspace = true, l.Userspace || facility != "kern"
	return strings.TrimLeft(rest, " ")
}

var (
	facilities = set("kern user mail daemon auth syslog lpr news uucp cron authpriv ftp local0 local1 local2 local3 local4 local5 local6 local7")
	levels     = set("emerg alert crit err warn warning notice info debug error")
)

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// cutTag takes off "host kernel: ", "kernel: ", "kern.warn kernel: " and RFC
// 5424's "host kernel - - - ". Another tag says that a program wrote the line;
// the kernel's own words ("memory: usage 4kB") are no tag.
func (l *logLine) cutTag(s string) string {
	s = strings.TrimLeft(s, " ")
	rest, host := s, ""
	for i := range 4 {
		word, after, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		if word == "" || word[0] == '[' {
			return s
		}
		if tag, ok := strings.CutSuffix(word, ":"); ok {
			name, _, _ := strings.Cut(tag, "[") // app[7]
			if name == "kernel" {
				l.prefixed, l.tagged, l.Host = true, true, cmp.Or(host, l.Host)
				return after
			}
			if l.prefixed && i <= 1 && classify(s) == other {
				l.tagged, l.Userspace = true, true
			}
			return s
		}
		if text, ok := cutStructured(strings.TrimLeft(after, " ")); ok && i > 0 {
			l.prefixed, l.tagged, l.Host = true, true, host
			l.Userspace = l.Userspace || word != "kernel"
			return strings.TrimPrefix(text, "\ufeff")
		}
		host, rest = cmp.Or(host, word), after
	}
	return s
}

// cutStructured takes off what RFC 5424 has after the program's name: process
// id and message id, which are "-" for the kernel, and structured data.
func cutStructured(s string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, "- - "); !ok {
		return "", false
	}
	if strings.HasPrefix(rest, "[") {
		_, rest, ok = strings.Cut(rest, "\"] ")
		return rest, ok
	}
	return strings.CutPrefix(rest, "- ")
}

// cutPrintk takes off "[  825.463165]" and "[ T3106]" behind a tag, where no
// time in brackets came before.
func (l *logLine) cutPrintk(s string) string {
	if l.Uptime == 0 {
		if inside, rest, ok := cutBrackets(s); ok {
			if up, ok := parseUptime(inside); ok {
				l.prefixed, l.Uptime, s = true, up, rest
			}
		}
	}
	if inside, rest, ok := cutBrackets(s); ok && isCaller(inside) {
		l.prefixed, s = true, rest
	}
	return s
}

// longestTime is more than the length of printk's time in brackets.
const longestTime = 64

// cutConsole takes off what a program had printed on the console, without a
// line feed, when the kernel began its line.
func (l *logLine) cutConsole(s string) string {
	for rest := s; ; rest = rest[1:] {
		at := strings.IndexByte(rest, '[')
		if at < 0 {
			return s
		}
		rest = rest[at:]
		end := strings.IndexByte(rest[:min(len(rest), longestTime)], ']')
		if end < 0 {
			continue
		}
		if up, ok := parseUptime(rest[1:end]); ok {
			l.prefixed, l.Uptime = true, up
			return l.cutPrintk(strings.TrimPrefix(rest[end+1:], " "))
		}
	}
}

// isCaller knows "T3106" and "C0" (CONFIG_PRINTK_CALLER).
func isCaller(s string) bool {
	s = strings.TrimSpace(s)
	return len(s) > 1 && (s[0] == 'T' || s[0] == 'C') && isDigits(s[1:])
}
