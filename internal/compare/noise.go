package compare

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// fewestRuns is how many runs each side needs before times and sizes are
// compared: with fewer nobody knows what they vary by.
const fewestRuns = 3

// rare is how improbable it must be that both sides are the same, before values
// that both have seen, but not as often, count as a change.
const rare = 0.01

// Sample is what the runs of one side show of one aspect.
type Sample struct {
	// Values are the words and how many runs show each, most frequent first.
	Values []Count `json:"values,omitempty"`
	// Number sums up what has a unit.
	Number *Number `json:"number,omitempty"`
}

// Count is a value and the number of runs that show it.
type Count struct {
	Value string `json:"value"`
	Runs  int    `json:"runs"`
}

// Number sums up numbers.
type Number struct {
	Unit   string  `json:"unit"` // seconds, bytes, points
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
	Runs   int     `json:"runs"`
	Text   string  `json:"text"` // the median, for people
}

// sample collects what the runs of one side show of one aspect.
type sample struct {
	words   map[string]int
	numbers []float64
	unit    unit
}

func (s *sample) runs() int {
	n := len(s.numbers)
	for _, runs := range s.words {
		n += runs
	}
	return n
}

func (s *sample) summary() Sample {
	if n := len(s.numbers); n > 0 {
		sorted := slices.Sorted(slices.Values(s.numbers))
		median := (sorted[(n-1)/2] + sorted[n/2]) / 2
		return Sample{Number: &Number{
			Unit: s.unit.name, Median: median, Least: sorted[0], Most: sorted[n-1], Runs: n, Text: s.unit.text(median),
		}}
	}
	var out Sample
	for _, value := range slices.Sorted(maps.Keys(s.words)) {
		out.Values = append(out.Values, Count{value, s.words[value]})
	}
	slices.SortStableFunc(out.Values, func(a, b Count) int { return cmp.Compare(b.Runs, a.Runs) })
	return out
}

// key names one thing that can differ.
type key struct {
	aspect  Aspect
	subject string
}

// collection is everything that the runs of one side show.
type collection struct {
	finished int
	samples  map[key]*sample
}

func collect(runs []Run) collection {
	c := collection{finished: len(finished(runs)), samples: map[key]*sample{}}
	at := func(a Aspect, subject string) *sample {
		k := key{a, subject}
		if c.samples[k] == nil {
			c.samples[k] = &sample{words: map[string]int{}}
		}
		return c.samples[k]
	}
	for _, r := range runs {
		observe(r.Record, observed{
			word: func(a Aspect, subject, value string) { at(a, subject).words[value]++ },
			number: func(a Aspect, subject string, value float64, u unit) {
				s := at(a, subject)
				s.numbers, s.unit = append(s.numbers, value), u
			},
		})
	}
	return c
}

// has reports whether any run shows something of the aspect.
func (c collection) has(a Aspect) bool {
	for k := range c.samples {
		if k.aspect == a {
			return true
		}
	}
	return false
}

// absent is what runs show of an aspect that they do not mention.
var absent = map[Aspect]string{Found: "none", Seen: "none", Setting: "not set", Limit: "no such cgroup", Claim: "not made"}

// fill returns the samples of k on both sides, and false if there is nothing to
// hold one against: silence means something only of the aspects in absent, and
// only on a side that knows of the aspect at all.
func (c collection) fill(k key, other collection) (a, b *sample, ok bool) {
	silent, means := absent[k.aspect]
	complete := func(side collection) *sample {
		s := side.samples[k]
		if !means || k.aspect.recordedLater() && !side.has(k.aspect) {
			return s
		}
		filled := &sample{words: map[string]int{}}
		if s != nil {
			filled.words = maps.Clone(s.words)
		}
		if rest := side.finished - filled.runs(); rest > 0 {
			filled.words[silent] += rest
		}
		return filled
	}
	a, b = complete(c), complete(other)
	return a, b, a != nil && b != nil && a.runs() > 0 && b.runs() > 0
}

// decide says whether two samples differ: not at all (""), in what the runs of
// one side differ in as well (Noise), or beyond that (Unexplained, until
// somebody explains it). Numbers of few runs are not decided.
func decide(a, b *sample) (class Class, decided bool) {
	if len(a.numbers) > 0 {
		if min(len(a.numbers), len(b.numbers)) < fewestRuns {
			return "", false
		}
		if apart(a.numbers, b.numbers, a.unit) {
			return Unexplained, true
		}
		return "", true
	}
	common, shares := false, true
	for value := range a.words {
		common = common || b.words[value] > 0
	}
	if !common {
		return Unexplained, true
	}
	total := maps.Clone(a.words)
	for value, n := range b.words {
		total[value] += n
	}
	for value := range total {
		if fisher(a.words[value], a.runs(), b.words[value], b.runs())*float64(len(total)) < rare {
			return Unexplained, true
		}
		shares = shares && a.words[value]*b.runs() == b.words[value]*a.runs()
	}
	if shares {
		return "", true
	}
	return Noise, true
}

// apart reports that numbers differ beyond noise: no value of one side lies
// among those of the other, the gap between the sides is wider than what either
// side's own values are spread over, and it is large enough to matter.
func apart(a, b []float64, u unit) bool {
	low, high := a, b
	if slices.Max(low) > slices.Min(high) {
		low, high = high, low
	}
	gap := slices.Min(high) - slices.Max(low)
	spread := max(slices.Max(low)-slices.Min(low), slices.Max(high)-slices.Min(high))
	return gap > spread && gap > u.amount && gap > u.share*slices.Max(low)
}

// fisher is Fisher's exact test, two-sided: how probable it is that k of n and l
// of m runs, or something less balanced, come out if both sides are the same.
func fisher(k, n, l, m int) float64 {
	hits := k + l
	logTerm := func(i int) float64 { return logChoose(n, i) + logChoose(m, hits-i) - logChoose(n+m, hits) }
	seen := logTerm(k)
	p := 0.0
	for i := max(0, hits-m); i <= min(n, hits); i++ {
		if t := logTerm(i); t <= seen+1e-9 {
			p += math.Exp(t)
		}
	}
	return p
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
