package oomreport

import (
	"strings"
	"time"
)

// ParseKmsg reads one record of /dev/kmsg, or a line of a file that holds such
// records: "priority,sequence,microseconds,flags[,…];text", after which lines
// that begin with a blank may follow (Documentation/ABI/testing/dev-kmsg). It
// reports false for what is none.
func ParseKmsg(s string) (r Record, ok bool) {
	// A record's head is short: search no further in other lines.
	end := strings.IndexByte(s[:min(len(s), 128)], ';')
	if end < 0 {
		return Record{}, false
	}
	var head [3]uint64
	rest := s[:end]
	for i := range head {
		var text string
		text, rest, _ = strings.Cut(rest, ",")
		if head[i], ok = parse[uint64](text); !ok {
			return Record{}, false
		}
	}
	text, _, _ := strings.Cut(s[end+1:], "\n")
	r.Text = unescape(text)
	r.Seq, r.Uptime = head[1], time.Duration(head[2])*time.Microsecond
	// The priority is facility*8 + level. The kernel gives facility 0 to
	// nobody but itself.
	r.Userspace = head[0] >= 8
	return r, true
}

// unescape undoes the kernel's \xNN for bytes that are not printable ASCII.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if i+3 < len(s) && s[i] == '\\' && s[i+1] == 'x' {
			high, ok1 := hexDigit(s[i+2])
			low, ok2 := hexDigit(s[i+3])
			if ok1 && ok2 {
				out = append(out, high<<4|low)
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
