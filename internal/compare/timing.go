package compare

import (
	"fmt"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
)

// unit says how a number is written, and from what difference on it matters:
// both the share of the smaller value and the absolute amount must be exceeded.
type unit struct {
	name   string // of the JSON key
	share  float64
	amount float64
	text   func(float64) string
}

// The units. The amounts are above what two runs of one binary differ by on an
// idle machine; the API server's times have a resolution of a second.
var (
	seconds = unit{"seconds", 0.20, 0.25, func(v float64) string { return fmt.Sprintf("%.2f s", v) }}
	stamps  = unit{"seconds", 0.20, 1.5, func(v float64) string { return fmt.Sprintf("%.0f s", v) }}
	bytes   = unit{"bytes", 0.10, float64(8 * mem.MiB), func(v float64) string { return mem.Bytes(v).Human() }}
	points  = unit{"points", 0.05, 10, func(v float64) string { return fmt.Sprintf("%.0f", v) }}
)

// observeTimes tells how long what took.
func observeTimes(r *record.Record, o observed) {
	pressed, ok := pressTime(r)
	if !ok {
		return
	}
	last := pressed
	seen := map[string]bool{}
	for _, k := range meant(r) {
		name := nameOf(k.Owner)
		if seen[name] {
			continue
		}
		seen[name] = true
		if !k.Needless {
			o.number(Time, "kill of "+name+", since the one before", k.Time.Sub(last).Seconds(), seconds)
		}
		last = k.Time
		if k.Uncharged != nil {
			o.number(Time, "memory of "+name+" given back", k.Uncharged.Sub(k.Time).Seconds(), seconds)
		}
	}
	for _, p := range r.After {
		if at := ended(p); at != nil && p.Reason == "Evicted" {
			o.number(Time, "eviction of "+p.Name, at.Sub(pressed).Seconds(), stamps)
		}
		for _, c := range p.Containers {
			if c.RestartCount > 0 && c.Since != nil && c.Ended != nil && !killedAgain(r, p.Name, c.Name) {
				subject := record.Owner{Workload: p.Workload, Pod: p.Name, Container: c.Name}.String()
				o.number(Time, "restart of "+subject, c.Since.Sub(c.Ended.Finished).Seconds(), stamps)
			}
		}
	}
}

// pressTime is when the pressure began.
func pressTime(r *record.Record) (time.Time, bool) {
	for _, e := range r.Timeline {
		if e.Step == "press" {
			return r.Started.Add(time.Duration(e.AtSeconds * float64(time.Second))), true
		}
	}
	return time.Time{}, false
}

// ended is when the last container of the pod ended, nil if none has.
func ended(p record.Pod) *time.Time {
	var last *time.Time
	for _, c := range p.Containers {
		if c.Ended != nil && (last == nil || c.Ended.Finished.After(*last)) {
			last = &c.Ended.Finished
		}
	}
	return last
}
