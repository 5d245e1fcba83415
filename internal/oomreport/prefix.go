package oomreport

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
)

// logLine is a physical line of a log file, taken apart.
type logLine struct {
	Record
	// prefixed says that something in front of the text shows where a line
	// begins. A line without it may be the rest of a wrapped one.
	prefixed bool
	// blankEnd says that the line ended with a blank.
	blankEnd bool
}

// splitLine takes the prefixes off a line, the outermost first: quotation,
// container runtime or JSON, priority, time and host, tag, printk time, caller.
// Each is taken once, so that a process cannot hide its name behind one more.
func splitLine(s string) logLine {
	s = strings.TrimRight(s, "\r\n")
	s = strings.ReplaceAll(s, "\u00a0", " ") // HTML mail
	if strings.Contains(s, "\x1b[") {
		s = stripColours(s)
	}
	l := logLine{blankEnd: strings.HasSuffix(s, " ")}
	s = trimQuotes(s)
	if strings.HasPrefix(s, "{") {
		if rest, raw, ok := l.cutJSON(s); ok {
			l.prefixed = true
			if raw {
				l.Text = rest
				return l
			}
			s = strings.TrimRight(rest, "\r\n")
		}
	}
	if r, ok := ParseKmsg(s); ok {
		r.Host = l.Host
		return logLine{Record: r, prefixed: true, blankEnd: l.blankEnd}
	}
	s = l.cutRuntime(s)
	s = l.cutPriority(s)
	s = l.cutTime(s)
	s = l.cutTag(s)
	s = l.cutPrintk(s)
	if !l.prefixed {
		s = l.cutConsole(s)
	}
	l.Text = strings.TrimLeft(s, " \t")
	return l
}

// stripColours removes the escape sequences of `dmesg --color=always`.
func stripColours(s string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		s = strings.TrimLeft(after, "0123456789;")
		if s != "" {
			s = s[1:]
		}
	}
}

// trimQuotes removes indentation and the marks of quoted mail and Markdown.
func trimQuotes(s string) string {
	return strings.TrimLeft(s, " \t>")
}

// cutJSON reads a line of `journalctl -o json`, or of a container runtime or
// log shipper that wraps lines in JSON. raw says that the text has no prefix.
func (l *logLine) cutJSON(s string) (text string, raw, ok bool) {
	var entry struct {
		Log       *string         `json:"log"` // docker's json-file
		Time      string          `json:"time"`
		Message   json.RawMessage `json:"MESSAGE"`
		Transport string          `json:"_TRANSPORT"`
		Host      string          `json:"_HOSTNAME"`
		Realtime  string          `json:"__REALTIME_TIMESTAMP"`
		Monotonic string          `json:"_SOURCE_MONOTONIC_TIMESTAMP"`
	}
	if json.Unmarshal([]byte(s), &entry) != nil {
		return "", false, false
	}
	if entry.Log != nil {
		l.Stamp = entry.Time
		return *entry.Log, false, true
	}
	if json.Unmarshal(entry.Message, &text) != nil {
		// A message that is not UTF-8 is an array of bytes.
		var numbers []uint16
		if json.Unmarshal(entry.Message, &numbers) != nil {
			return "", false, false
		}
		bytes := make([]byte, len(numbers))
		for i, n := range numbers {
			bytes[i] = byte(n)
		}
		text = string(bytes)
	}
	l.Host, l.Stamp = entry.Host, entry.Realtime
	if us, ok := parse[int64](entry.Monotonic); ok {
		l.Uptime = time.Duration(us) * time.Microsecond
	}
	l.Userspace = entry.Transport != "" && entry.Transport != "kernel"
	return text, entry.Transport == "kernel", true
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
// : " (`dmesg -x`, Talos). A facility other than kern is not the kernel's.
func (l *logLine) cutPriority(s string) string {
	if strings.HasPrefix(s, "<") {
		text, rest, ok := strings.Cut(s[1:], ">")
		if n, isNumber := parse[int](text); ok && isNumber {
			l.prefixed, l.Userspace = true, l.Userspace || n >= 8
			// RFC 5424 has its version next.
			s = strings.TrimPrefix(rest, "1 ")
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
				l.prefixed, l.Host = true, cmp.Or(host, l.Host)
				return after
			}
			if l.prefixed && i <= 1 && classify(s) == other {
				l.Userspace = true
			}
			return s
		}
		if text, ok := strings.CutPrefix(strings.TrimLeft(after, " "), "- - - "); ok {
			l.prefixed, l.Host = true, host
			l.Userspace = l.Userspace || word != "kernel"
			return strings.TrimPrefix(text, "\ufeff")
		}
		host, rest = cmp.Or(host, word), after
	}
	return s
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

// cutConsole takes off what a program had printed on the console, without a
// line feed, when the kernel began its line.
func (l *logLine) cutConsole(s string) string {
	for at := strings.IndexByte(s, '['); at >= 0; {
		rest := s[at:]
		if inside, after, ok := cutBrackets(rest); ok {
			if up, ok := parseUptime(inside); ok {
				l.prefixed, l.Uptime = true, up
				return l.cutPrintk(after)
			}
		}
		next := strings.IndexByte(rest[1:], '[')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return s
}

// isCaller knows "T3106" and "C0" (CONFIG_PRINTK_CALLER).
func isCaller(s string) bool {
	s = strings.TrimSpace(s)
	return len(s) > 1 && (s[0] == 'T' || s[0] == 'C') && isDigits(s[1:])
}
