package oomreport

import (
	"strings"
	"time"
)

// cutTime takes off the time at the start of a line: in brackets as dmesg
// writes it, or as syslog and journalctl write it.
func (l *logLine) cutTime(s string) string {
	if inside, rest, ok := cutBrackets(s); ok {
		if up, ok := parseUptime(inside); ok {
			l.prefixed, l.Uptime = true, up
			return rest
		}
		if isWallTime(inside) {
			l.prefixed, l.Stamp = true, strings.TrimSpace(inside)
			return strings.TrimPrefix(rest, ":")
		}
		return s
	}
	if inside, rest, ok := strings.Cut(s[:min(len(s), 24)], "]"); ok { // its bracket was not copied
		if up, ok := parseUptime(inside); ok {
			l.prefixed, l.Uptime = true, up
			return strings.TrimPrefix(rest+s[min(len(s), 24):], " ")
		}
	}
	if n := stampLen(s); n > 0 {
		l.prefixed = true
		if l.Stamp == "" {
			l.Stamp = s[:n]
		}
		return strings.TrimLeft(s[n:], " ")
	}
	return s
}

// cutBrackets splits "[inside] rest". One blank of the rest is the kernel's.
func cutBrackets(s string) (inside, rest string, ok bool) {
	s = strings.TrimLeft(s, " ")
	if !strings.HasPrefix(s, "[") {
		return "", "", false
	}
	inside, rest, ok = strings.Cut(s[1:], "]")
	return inside, strings.TrimPrefix(rest, " "), ok
}

// parseUptime reads printk's "  825.463165", also with the difference that
// `dmesg -d` adds ("825.463165 <    0.000002>"). A pid has no point.
func parseUptime(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	s, _, _ = strings.Cut(s, " <")
	whole, fraction, ok := strings.Cut(s, ".")
	if !ok || len(fraction) != 6 || len(whole) > 9 {
		return 0, false
	}
	seconds, ok1 := parse[int64](whole)
	micros, ok2 := parse[int64](fraction)
	return time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond, ok1 && ok2
}

// isWallTime knows what dmesg puts in brackets instead of the uptime, in any
// language: "Fri Sep 25 15:29:32 2020", "dim. 19 avril 18:03:30 2026" (-T),
// "Nov24 21:05" and "  +0.000002" (-H), "<    0.000002>" (-d without time).
func isWallTime(s string) bool {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "<") {
		return strings.Trim(s, "+<> .0123456789") == ""
	}
	i := strings.IndexByte(s, ':')
	return len(s) < 64 && i >= 2 && i+2 < len(s) && isDigits(s[i-2:i]) && isDigits(s[i+1:i+3])
}

// isISODate knows "2025-06-24…".
func isISODate(s string) bool {
	return len(s) >= 10 && isDigits(s[:4]) && s[4] == '-' && isDigits(s[5:7]) && s[7] == '-' && isDigits(s[8:10])
}

// isClock knows "18:49:43…".
func isClock(s string) bool {
	return len(s) >= 8 && isDigits(s[:2]) && s[2] == ':' && isDigits(s[3:5]) && s[5] == ':' && isDigits(s[6:8])
}

// stampLen returns the length of a wall-clock time at the start of a line, 0
// where there is none:
//
//	Jun 24 18:49:43            syslog, journalctl (months in any language)
//	2025-06-24T18:49:43+0000   syslog, journalctl -o short-iso, CI logs
//	2025-06-24 18:49:43        and with a zone
//	Tue 2025-06-24 18:49:43 UTC    journalctl -o short-full
//	Tue Jun 24 18:49:43 2025   OpenWrt's logread
//	1750790983.405414          journalctl -o short-unix
func stampLen(s string) int {
	var words [5]string
	var ends [5]int
	at := 0
	for i := range words {
		for at < len(s) && s[at] == ' ' {
			at++
		}
		end := strings.IndexByte(s[at:], ' ')
		if end < 0 {
			break
		}
		words[i], ends[i] = s[at:at+end], at+end
		at += end
	}
	switch {
	case isISODate(words[0]) && len(words[0]) > 18 && isClock(words[0][11:]):
		return ends[0]
	case isISODate(words[0]) && isClock(words[1]):
		return ends[1+zone(words[2])]
	case isISODate(words[1]) && isClock(words[2]):
		return ends[2+zone(words[3])]
	case isShortNumber(words[1]) && isClock(words[2]):
		return ends[2]
	case isShortNumber(words[2]) && isClock(words[3]):
		return ends[3+btoi(isShortNumber(words[4][min(2, len(words[4])):]))]
	case isUnixTime(words[0]):
		return ends[0]
	}
	return 0
}

// zone is 1 for a word that is a time zone.
func zone(s string) int {
	return btoi(len(s) == 5 && (s[0] == '+' || s[0] == '-') && isDigits(s[1:]) ||
		len(s) >= 3 && len(s) <= 5 && strings.ToUpper(s) == s && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "")
}

// isShortNumber knows the day of a month, and the second half of a year.
func isShortNumber(s string) bool {
	s = strings.TrimSuffix(s, ".")
	return len(s) <= 2 && isDigits(s)
}

func isUnixTime(s string) bool {
	whole, fraction, ok := strings.Cut(s, ".")
	return ok && len(whole) == 10 && len(fraction) == 6 && isDigits(whole) && isDigits(fraction)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
