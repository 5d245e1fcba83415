package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oomlab/oomlab/internal/mem"
)

// Error is a plan that cannot be meant. It points at the place in the text.
type Error struct {
	Text       string // the whole plan
	Start, End int    // byte offsets of what is wrong
	Message    string
}

// Error writes the message, and below it the plan with a caret.
func (e *Error) Error() string {
	flat := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		return r
	}, e.Text)
	width := max(1, utf8.RuneCountInString(e.Text[e.Start:e.End]))
	return fmt.Sprintf("plan: %s\n\t%s\n\t%s%s", e.Message, flat,
		strings.Repeat(" ", utf8.RuneCountInString(e.Text[:e.Start])), strings.Repeat("^", width))
}

// span is a range of bytes in the text of the plan.
type span struct{ start, end int }

func (p Plan) errorAt(at span, format string, args ...any) error {
	return &Error{p.text, at.start, at.end, fmt.Sprintf(format, args...)}
}

const (
	maxBytes  = 64 * mem.TiB // physical memory that x86-64 can address
	maxTime   = 366 * 24 * time.Hour
	maxSpread = 1024
	maxTimes  = 100_000
	maxDepth  = 8
)

var ratePer = map[string]time.Duration{"s": time.Second, "min": time.Minute, "h": time.Hour}

// Parse reads a plan. Its error is an *Error.
func Parse(text string) (Plan, error) {
	p := parser{text: text, tokens: lex(text)}
	plan := p.plan()
	if p.err != nil {
		return Plan{}, p.err
	}
	return plan, nil
}

type token struct {
	text string
	at   span
}

// lex splits text into words and the signs , { } and "..". The last token is
// empty and stands for the end.
func lex(text string) []token {
	var tokens []token
	for i := 0; i < len(text); {
		end := i + 1
		switch {
		case strings.ContainsRune(" \t\r\n", rune(text[i])):
			i++
			continue
		case strings.HasPrefix(text[i:], ".."):
			end = i + 2
		case !strings.ContainsRune(",{}", rune(text[i])):
			for end < len(text) && !strings.ContainsRune(" \t\r\n,{}", rune(text[end])) && !strings.HasPrefix(text[end:], "..") {
				end++
			}
		}
		tokens = append(tokens, token{text[i:end], span{i, end}})
		i = end
	}
	return append(tokens, token{"", span{len(text), len(text)}})
}

// parser reads tokens. After its first error it takes no more of them, so the
// rules below need not ask each other whether they succeeded.
type parser struct {
	text   string
	tokens []token
	next   int
	depth  int
	err    error
}

func (p *parser) fail(at span, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{p.text, at.start, at.end, fmt.Sprintf(format, args...)}
	}
}

// peek returns the next token; after an error, the end.
func (p *parser) peek() token {
	if p.err != nil {
		return p.tokens[len(p.tokens)-1]
	}
	return p.tokens[p.next]
}

func (p *parser) take() token {
	t := p.peek()
	if t.text != "" {
		p.next++
	}
	return t
}

// accept takes the next token if it is word.
func (p *parser) accept(word string) bool {
	if p.peek().text != word {
		return false
	}
	p.take()
	return true
}

func (p *parser) expect(word string) {
	if !p.accept(word) {
		p.unexpected(strconv.Quote(word))
	}
}

func (p *parser) unexpected(want string) {
	t := p.peek()
	if t.text == "" {
		p.fail(t.at, "the plan ends where %s is needed", want)
		return
	}
	p.fail(t.at, "want %s, not %q", want, t.text)
}

func (p *parser) plan() Plan {
	plan := Plan{text: p.text}
	if p.accept("children") {
		plan.Children = p.count(maxSpread)
		p.expect(",")
	}
	if p.accept("threads") {
		plan.Threads = p.count(maxSpread)
		p.expect(",")
	}
	plan.Steps = p.steps()
	if p.peek().text != "" {
		p.unexpected("a comma and another step")
	}
	return plan
}

// steps reads steps up to a closing brace or the end.
func (p *parser) steps() []Step {
	var steps []Step
	for p.err == nil {
		s := p.step()
		steps = append(steps, s)
		if !p.accept(",") {
			break
		}
		if s.For == Forever {
			p.fail(s.at, "%s has no end here, so the next step is never reached: say how long", s.Verb)
		}
	}
	return steps
}

func (p *parser) step() Step {
	start := p.peek()
	s := Step{Kind: Anon}
	for _, k := range Kinds {
		if p.accept(string(k)) {
			s.Kind = k
			break
		}
	}
	verb := p.peek()
	s.Verb = Verb(verb.text)
	if s.Verb == Hold || s.Verb == Await || s.Verb == Repeat {
		s.Kind = ""
		if start != verb {
			p.fail(start.at, "%s takes no kind of memory", s.Verb)
		}
	}
	switch s.Verb {
	case Fill, Ramp, Stairs, Leak, Spike, Saw, Hold, Await, Touch, Release, Repeat:
		p.take()
	default:
		p.unexpected("a step (fill, ramp, step, leak, spike, saw, hold, await, touch, release or repeat)")
	}
	p.clauses(&s)
	s.at = span{start.at.start, p.tokens[max(p.next, 1)-1].at.end}
	return s
}

// clauses reads what follows the verb of s.
func (p *parser) clauses(s *Step) {
	switch s.Verb {
	case Fill:
		s.Size = p.size()
	case Ramp:
		s.Size = p.size()
		p.expect("at")
		s.Rate = p.rate()
	case Stairs:
		s.Size = p.size()
		p.expect("every")
		s.Every = p.duration()
		p.expect("to")
		s.To = p.size()
	case Leak:
		s.Rate = p.rate()
		p.expect("to")
		s.To = p.size()
		if p.accept("noise") {
			s.Noise = p.percent(p.take(), 100)
		}
		if p.accept("seed") {
			s.Seed = p.seed()
		}
	case Spike:
		s.Size = p.size()
		p.expect("for")
		s.For = p.duration()
	case Saw:
		s.From = p.size()
		p.expect("..")
		s.Size = p.size()
		p.expect("every")
		s.Every = p.duration()
		s.For = p.forClause()
	case Hold:
		s.For = Forever
		if !p.atStepEnd() {
			s.For = p.duration()
		}
	case Touch:
		s.Size = p.size()
		p.expect("at")
		s.Rate = p.rate()
		s.For = p.forClause()
	case Release:
		s.Size = Size{all: true, at: p.peek().at}
		if !p.atStepEnd() {
			s.Size = p.size()
		}
	case Repeat:
		p.repeat(s)
	}
}

func (p *parser) atStepEnd() bool {
	t := p.peek().text
	return t == "" || t == "," || t == "}"
}

func (p *parser) forClause() time.Duration {
	if !p.accept("for") {
		return Forever
	}
	return p.duration()
}

func (p *parser) repeat(s *Step) {
	s.Times = p.count(maxTimes)
	open := p.peek()
	p.expect("{")
	if p.depth++; p.depth > maxDepth {
		p.fail(open.at, "more than %d repeats inside each other", maxDepth)
	}
	s.Body = p.steps()
	p.depth--
	if p.err == nil && p.peek().text != "}" {
		p.unexpected(`"," or "}"`)
	}
	p.take()
	if n := len(s.Body); n > 0 && s.Body[n-1].For == Forever {
		p.fail(s.Body[n-1].at, "%s has no end here, so nothing is repeated: say how long", s.Body[n-1].Verb)
	}
}

// count reads a whole number from 1 to limit.
func (p *parser) count(limit int) int {
	t := p.take()
	n, err := strconv.Atoi(t.text)
	if err != nil || n < 1 || n > limit {
		p.fail(t.at, "want a whole number from 1 to %d, not %q", limit, t.text)
	}
	return n
}

func (p *parser) seed() uint64 {
	t := p.take()
	n, err := strconv.ParseUint(t.text, 10, 64)
	if err != nil {
		p.fail(t.at, "want a seed, a whole number, not %q", t.text)
	}
	return n
}

func (p *parser) duration() time.Duration {
	t := p.take()
	d, err := time.ParseDuration(t.text)
	switch {
	case err != nil:
		p.fail(t.at, "want a duration such as 500ms, 10s or 1h30m, not %q", t.text)
	case d <= 0:
		p.fail(t.at, "a duration must be longer than 0")
	case d > maxTime:
		p.fail(t.at, "longer than a year")
	}
	return d
}

// percent reads t as a percentage above 0 and up to limit.
func (p *parser) percent(t token, limit float64) float64 {
	number, isPercent := strings.CutSuffix(t.text, "%")
	f, err := strconv.ParseFloat(number, 64)
	if !isPercent || err != nil || strings.Trim(number, "0123456789.") != "" || f == 0 || f > limit {
		p.fail(t.at, "want a percentage above 0%% and up to %v%%, not %q", limit, t.text)
	}
	return f
}

func (p *parser) size() Size {
	if p.atStepEnd() {
		p.unexpected("a size")
		return Size{}
	}
	t := p.take()
	if strings.HasSuffix(t.text, "%") {
		s := Size{Percent: p.percent(t, 1000), at: t.at}
		p.expect("of")
		of := p.peek()
		if of.text != "limit" && of.text != "request" {
			p.unexpected(`"limit" or "request", the container's own`)
			return s
		}
		p.take()
		s.Of, s.at.end = of.text, of.at.end
		return s
	}
	return Size{Bytes: p.bytes(t.text, t.at), at: t.at}
}

func (p *parser) bytes(text string, at span) mem.Bytes {
	b, err := mem.ParseBytes(text)
	switch {
	case strings.HasPrefix(text, "-"):
		p.fail(at, "a size cannot be negative: use release to shrink")
	case err != nil:
		p.fail(at, "want a size such as 150Mi, 2Gi or 80%% of limit, not %q", text)
	case b == 0:
		p.fail(at, "a size must be larger than 0: use release to hold nothing")
	case b > maxBytes:
		p.fail(at, "larger than %v, more than any machine has", maxBytes)
	}
	return b
}

func (p *parser) rate() Rate {
	t := p.take()
	amount, unit, found := strings.Cut(t.text, "/")
	per, known := ratePer[unit]
	if !found || !known {
		p.fail(t.at, "want a rate such as 10Mi/s, 5Mi/min or 100Mi/h, not %q", t.text)
		return Rate{}
	}
	return Rate{Amount: p.bytes(amount, span{t.at.start, t.at.start + len(amount)}), Per: per, at: t.at}
}
