package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
)

func TestCurve(t *testing.T) {
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	curve := record.Curve{Cgroup: "/node/kubepods", StallOf: "machine"}
	for i := range 61 { // up for half a minute, then down to a half
		held := mem.Bytes(min(i, 30)) * mem.GiB / 30
		if i > 30 {
			held = mem.GiB / 2
		}
		curve.Samples = append(curve.Samples, record.MemorySample{
			AtSeconds: float64(i), Usage: held, Stalled: &record.Stall{SomeSeconds: 7 + float64(max(0, i-30))/2, FullSeconds: 1},
		})
	}
	kill := func(order, second int) record.Kill {
		return record.Kill{Order: order, Time: started.Add(time.Duration(second) * time.Second)}
	}
	var out bytes.Buffer
	NewStory(&out).curve(&record.Record{Started: started, Curve: &curve, Kills: []record.Kill{kill(1, 30), kill(2, 45), kill(3, 45)}})
	want := "\n" +
		"  memory    ▁▁▁▂▂▂▂▃▃▃▃▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇████▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅  0 to 1Gi in kubepods\n" +
		"  kills    " + strings.Repeat(" ", 30) + "1" + strings.Repeat(" ", 14) + "+\n" +
		"  stalled  " + strings.Repeat(" ", 31) + strings.Repeat("▅", 29) + "  15.00 s some task of the machine, 0.00 s all\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNoCurve(t *testing.T) {
	var out bytes.Buffer
	NewStory(&out).curve(&record.Record{Curve: &record.Curve{Samples: make([]record.MemorySample, 1)}})
	NewStory(&out).curve(&record.Record{})
	if out.Len() > 0 {
		t.Errorf("of nothing this is drawn: %q", out.String())
	}
}
