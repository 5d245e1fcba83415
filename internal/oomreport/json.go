package oomreport

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
)

// cutWrapper takes a line out of JSON: an object with a line or several in it,
// a string, or one field of an object that is printed over many lines. raw says
// that the text has no other prefix.
func (l *logLine) cutWrapper(s string) (text string, raw bool) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "\x1e"), "data: ") // json-seq, json-sse
	switch {
	case s != "" && strings.Trim(s, "{}[], ") == "": // around the fields of an object
		l.prefixed, l.Userspace = true, true
		return "", true
	case strings.HasPrefix(s, "{"):
		if text, raw, ok := l.cutJSON(s); ok {
			l.prefixed = true
			return text, raw
		}
	case strings.HasPrefix(s, `"`):
		if text, raw, ok := l.cutString(s); ok {
			return text, raw
		}
	case strings.HasPrefix(s, messageField):
		l.prefixed = true
		return strings.TrimPrefix(s, messageField), true
	case strings.Count(s, `\n`) > maxName/2: // more than a process name can hold
		return strings.ReplaceAll(s, `\n`, "\n"), false
	}
	return s, false
}

// messageField begins the text in `journalctl -o export` and `-o verbose`.
const messageField = "MESSAGE="

// isField knows the other fields of these, and those that follow a record of
// /dev/kmsg: "_TRANSPORT=kernel", "SUBSYSTEM=pci".
func isField(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	return ok && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == "" && strings.Trim(name, "0123456789") != ""
}

// entry is a line of `journalctl -o json`, or of a container runtime or log
// shipper that wraps lines in JSON. Names match in any case.
type entry struct {
	Log         *string         `json:"log"` // docker's json-file
	Time        string          `json:"time"`
	Message     json.RawMessage `json:"MESSAGE"` // journald, Fluentd, Vector, CloudWatch
	Msg         json.RawMessage `json:"msg"`
	TextPayload json.RawMessage `json:"textPayload"` // Google Cloud
	JSONPayload *entry          `json:"jsonPayload"`
	Transport   string          `json:"_TRANSPORT"`
	Host        string          `json:"_HOSTNAME"`
	Realtime    string          `json:"__REALTIME_TIMESTAMP"`
	Monotonic   string          `json:"_SOURCE_MONOTONIC_TIMESTAMP"`
}

func (l *logLine) cutJSON(s string) (text string, raw, ok bool) {
	var e entry
	if json.Unmarshal([]byte(s), &e) != nil {
		return "", false, false
	}
	if e.JSONPayload != nil {
		e = *e.JSONPayload
	}
	if e.Log != nil {
		l.Stamp = e.Time
		return *e.Log, false, true
	}
	for _, message := range []json.RawMessage{e.Message, e.Msg, e.TextPayload} {
		if text, ok = messageText(message); ok {
			break
		}
	}
	if !ok {
		return "", false, false
	}
	l.Host, l.Stamp = e.Host, cmp.Or(e.Realtime, e.Time)
	if us, ok := parse[int64](e.Monotonic); ok {
		l.Uptime = time.Duration(us) * time.Microsecond
	}
	l.Userspace = e.Transport != "" && e.Transport != "kernel"
	return text, e.Transport == "kernel", true
}

// messageText reads a string, or the array of bytes that journald makes of a
// message that is not printable.
func messageText(message json.RawMessage) (text string, ok bool) {
	if len(message) == 0 {
		return "", false
	}
	if json.Unmarshal(message, &text) == nil {
		return text, true
	}
	var numbers []uint16
	if json.Unmarshal(message, &numbers) != nil {
		return "", false
	}
	bytes := make([]byte, len(numbers))
	for i, n := range numbers {
		bytes[i] = byte(n)
	}
	return string(bytes), true
}

// cutString takes a line out of `"msg": "text",`, as `dmesg --json` and
// `journalctl -o json-pretty` print it, or out of `"text",`, an element of an
// array.
func (l *logLine) cutString(s string) (text string, raw, ok bool) {
	value := strings.TrimRight(strings.TrimRight(s, " "), ",")
	if key, after, found := cutField(value); found {
		field := strings.TrimRight(strings.TrimSpace(after), " }]")
		switch key {
		case `"msg`, `"MESSAGE`:
			value, raw = field, true
		default:
			if json.Valid([]byte(field)) { // another field of the object
				l.prefixed, l.Userspace = true, true
				return "", true, true
			}
		}
	}
	if json.Unmarshal([]byte(value), &text) != nil {
		return "", false, false
	}
	l.prefixed = true
	return text, raw, true
}

// cutField splits `"key": value`; before the colon may be a blank.
func cutField(s string) (key, value string, ok bool) {
	end := strings.IndexByte(s[1:], '"') + 1
	if end < 1 {
		return "", "", false
	}
	value, ok = strings.CutPrefix(strings.TrimLeft(s[end+1:], " "), ":")
	return s[:end], value, ok
}
