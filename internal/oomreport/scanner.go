package oomreport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	bufferSize = 1 << 20
	// blockSize is how far a search for the next report looks at a time.
	blockSize = 64 << 10
	// lookBack is how much before the line that gives a report away is read
	// as well: a header may be wrapped, the first lines of a report lost.
	lookBack = 8 << 10
	// lingerLines is how long every line is read after such a line.
	lingerLines = 16
	// maxHosts bounds how many hosts are told apart at a time.
	maxHosts = 64
)

// Scanner reads reports from a log of any size, in constant memory. Lines that
// have nothing to do with the OOM killer are searched, not parsed. Reports of
// several hosts in one log are told apart where its lines name the host.
type Scanner struct {
	r     io.Reader
	store []byte
	buf   []byte // the part of store that is read and not yet done with
	begun bool
	eof   bool
	skip  bool // the rest of a line that is too long
	line  int  // lines before buf
	err   error

	searched int // bytes of buf that give no report away
	ahead    int // bytes of buf to read line by line, whatever they hold
	linger   int // lines to read after them

	wrap  unwrapper
	hosts []host
	ready []*Report
	next  *Report
}

type host struct {
	name string
	*Assembler
}

// NewScanner returns a Scanner that reads from r.
func NewScanner(r io.Reader) *Scanner {
	return &Scanner{r: r, store: make([]byte, bufferSize)}
}

// Parse returns all reports of a log.
func Parse(r io.Reader) ([]*Report, error) {
	var reports []*Report
	s := NewScanner(r)
	for s.Scan() {
		reports = append(reports, s.Report())
	}
	return reports, s.Err()
}

// Scan advances to the next report. It returns false at the end of the log or
// at an error of the reader, which Err tells.
func (s *Scanner) Scan() bool {
	for len(s.ready) == 0 {
		if !s.step() {
			s.next = nil
			return false
		}
	}
	s.next, s.ready = s.ready[0], s.ready[1:]
	return true
}

// Report returns the report that Scan advanced to.
func (s *Scanner) Report() *Report { return s.next }

// Err returns the error that ended the log early, nil at its end.
func (s *Scanner) Err() error { return s.err }

// step does a bounded piece of work. It returns false when all is done.
func (s *Scanner) step() bool {
	whole := s.whole()
	switch {
	case s.reading() && len(whole) > 0:
		s.readLine(whole)
	case !s.reading() && len(whole) > s.searched:
		s.search(whole)
	case !s.eof:
		s.fill()
	case len(s.hosts) > 0 || s.wrap.waiting:
		s.flush()
		for _, h := range s.hosts {
			s.collect(h.Close())
		}
		s.hosts = nil
	default:
		return false
	}
	return true
}

// whole returns the lines in buf that are there to their end.
func (s *Scanner) whole() []byte {
	if s.eof {
		return s.buf
	}
	return s.buf[:bytes.LastIndexByte(s.buf, '\n')+1]
}

// fill reads more. It keeps what lookBack needs.
func (s *Scanner) fill() {
	if keep := lineStart(s.buf, max(s.searched-lookBack, 0)); keep > 0 {
		s.drop(keep)
	}
	if len(s.buf) == len(s.store) {
		s.skip = true
		s.drop(len(s.buf))
	}
	if !s.begun {
		s.r, s.begun = decode(s.r), true
	}
	n := copy(s.store, s.buf)
	got, err := s.r.Read(s.store[n:])
	s.buf = s.store[:n+max(got, 0)]
	if s.skip {
		if i := bytes.IndexByte(s.buf, '\n'); i >= 0 {
			s.skip = false
			s.drop(i)
		} else {
			s.drop(len(s.buf))
		}
	}
	if err != nil {
		s.eof = true
		if !errors.Is(err, io.EOF) {
			s.err = fmt.Errorf("read kernel log after line %d: %w", s.line, err)
		}
	}
}

// drop is done with the first n bytes of buf.
func (s *Scanner) drop(n int) {
	s.line += bytes.Count(s.buf[:n], []byte{'\n'})
	s.buf = s.buf[n:]
	s.searched = max(s.searched-n, 0)
	s.ahead = max(s.ahead-n, 0)
}

// lineStart returns the start of the first line at or after i.
func lineStart(b []byte, i int) int {
	if i <= 0 || b[i-1] == '\n' {
		return i
	}
	if j := bytes.IndexByte(b[i:], '\n'); j >= 0 {
		return i + j + 1
	}
	return i
}

// search looks for the next line that gives a report away.
func (s *Scanner) search(whole []byte) {
	block := whole[s.searched:]
	if len(block) > blockSize {
		block = block[:lineStart(block, blockSize)]
	}
	i := candidate(block)
	if i < 0 {
		s.searched += len(block)
		return
	}
	at := s.searched + i
	line := bytes.LastIndexByte(whole[:at], '\n') + 1
	from := min(lineStart(whole, max(at-lookBack, 0)), line)
	s.drop(from)
	s.searched, s.ahead, s.linger = 0, at-from+1, lingerLines
}

// candidate returns where in b something is said about the OOM killer, -1 if
// nowhere.
func candidate(b []byte) int {
	kill := -1
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("Kill"))
		if i < 0 {
			break
		}
		at += i + len("Kill")
		if rest := bytes.TrimPrefix(b[at:], []byte("ed")); startsWord(rest, "process") {
			kill = at - len("Kill")
			b = b[:kill]
			break
		}
	}
	// journald prints a message that is not printable as an array of bytes.
	if i := bytes.Index(b, []byte(`"MESSAGE":[`)); i >= 0 {
		if j := bytes.Index(b[i:], []byte("111,111,109")); j >= 0 { // "oom"
			kill, b = i+j, b[:i+j]
		}
	}
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("oom"))
		if i < 0 {
			return kill
		}
		at += i + len("oom")
		rest := b[at:]
		if bytes.HasPrefix(rest, []byte("-kill")) || bytes.HasPrefix(rest, []byte("_reaper: ")) ||
			bytes.HasPrefix(rest, []byte(".group set")) || bytes.HasPrefix(rest, []byte("_score_adj name")) {
			return at - len("oom")
		}
	}
}

// startsWord says that b goes on with a blank or a line's end, then the word.
func startsWord(b []byte, word string) bool {
	rest := bytes.TrimLeft(b[:min(len(b), 64)], " \r\n\t>")
	return len(rest) < min(len(b), 64) && bytes.HasPrefix(rest, []byte(word))
}

// reading says that every line counts: a report is open, or one may be near.
func (s *Scanner) reading() bool {
	if s.ahead > 0 || s.linger > 0 {
		return true
	}
	for _, h := range s.hosts {
		if h.Open() {
			return true
		}
	}
	return false
}

// readLine takes one line apart and passes it on.
func (s *Scanner) readLine(whole []byte) {
	n := lineStart(whole, 1)
	if n == 1 && whole[0] != '\n' {
		n = len(whole)
	}
	text := whole[:n]
	switch {
	case s.ahead > 0:
	case candidate(text) >= 0:
		s.linger = lingerLines
	default:
		s.linger = max(s.linger-1, 0)
	}
	lines := splitLine(string(text))
	number := s.line + 1
	s.drop(n)
	for _, l := range lines {
		l.Line = number
		if before, ok := s.wrap.add(l); ok {
			s.push(before)
		}
	}
	if !s.reading() {
		s.flush()
	}
}

func (s *Scanner) flush() {
	if l, ok := s.wrap.flush(); ok {
		s.push(l)
	}
}

// push gives a whole line to the assembler of its host.
func (s *Scanner) push(l logLine) {
	for _, h := range s.hosts {
		if h.name == l.Host {
			s.collect(h.Push(l.Record))
			return
		}
	}
	if len(s.hosts) == maxHosts {
		s.collect(s.hosts[0].Close())
		s.hosts = s.hosts[1:]
	}
	h := host{l.Host, new(Assembler)}
	s.hosts = append(s.hosts, h)
	s.collect(h.Push(l.Record))
}

func (s *Scanner) collect(events []Event) {
	for _, e := range events {
		if e.Kind == Closed {
			s.ready = append(s.ready, e.Report)
		}
	}
}
