package oomreport

import "strings"

// unstyled removes what terminals, mail programs and web pages add to a line:
// colours, HTML's blanks, entities and line breaks.
func unstyled(s string) string {
	s = strings.ReplaceAll(s, "\u00a0", " ")
	s = strings.TrimPrefix(s, "\ufeff")
	if strings.Contains(s, "\x1b[") {
		s = stripColours(s)
	}
	if strings.Contains(s, "&") {
		s = entities.Replace(s)
	}
	for _, end := range []string{"<br>", "<br/>", "<br />"} {
		s = strings.TrimSuffix(s, end)
	}
	for _, begin := range []string{"<pre>", "<code>", "<p>"} {
		s = strings.TrimPrefix(s, begin)
	}
	return s
}

// entities are those that stand for characters of the kernel's own text. Others
// could only be part of a name.
var entities = strings.NewReplacer("&gt;", ">", "&lt;", "<", "&quot;", `"`, "&#34;", `"`, "&#39;", "'", "&nbsp;", " ", "&amp;", "&")

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
