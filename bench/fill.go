package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// program is one thing that fills memory.
type program struct {
	Name string   `json:"name"`
	Argv []string `json:"argv"`
	// Goal is how much faster than this program the first one is to be; 0: no
	// goal.
	Goal float64 `json:"goal,omitempty"`
}

// result is the speeds of several programs that do the same, by program and
// round. The first is the stressor.
type result struct {
	Title    string      `json:"title"`
	Size     mem.Bytes   `json:"sizeBytes"`
	Programs []program   `json:"programs"`
	Speeds   [][]float64 `json:"bytesPerSecond"`
}

// ratios returns, for each round, the speed of the first program in multiples
// of program i's.
func (r result) ratios(i int) []float64 {
	out := make([]float64, len(r.Speeds[0]))
	for round := range out {
		out[round] = r.Speeds[0][round] / r.Speeds[i][round]
	}
	return out
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (b *bench) fill(ctx context.Context, m *measured) (err error) {
	size := strconv.FormatInt(int64(b.size), 10)
	m.Fill, err = b.compare(ctx, "Fill, base pages", []program{
		{Name: "oomlab-stressor, `fill`", Argv: b.balloon("fill " + b.size.String())},
		// Without --vm-madvise it draws its advice, huge pages among it.
		{Name: "stress-ng `--vm 1`, default method", Argv: []string{b.stressNG, "--vm", "1", "--vm-bytes", size, "--vm-keep", "--vm-madvise", "nohugepage"}, Goal: 2},
		{Name: "C, `MAP_POPULATE`", Argv: []string{b.reference, size, "base"}, Goal: 0.95},
		{Name: "oomlab-stressor, `threads 1, fill`", Argv: b.balloon("threads 1, fill " + b.size.String())},
	})
	return err
}

func (b *bench) thp(ctx context.Context, m *measured) (err error) {
	m.THP, err = b.compare(ctx, "Fill, transparent huge pages", []program{
		{Name: "oomlab-stressor, `thp fill`", Argv: b.balloon("thp fill " + b.size.String())},
		{Name: "C, `MADV_HUGEPAGE`, `MADV_POPULATE_WRITE`", Argv: []string{b.reference, strconv.FormatInt(int64(b.size), 10), "thp"}, Goal: 0.9},
		{Name: "oomlab-stressor, `threads 1, thp fill`", Argv: b.balloon("threads 1, thp fill " + b.size.String())},
	})
	return err
}

func (b *bench) balloon(plan string) []string { return []string{b.stressor, "-plan", plan + ", hold"} }

func (b *bench) compare(ctx context.Context, title string, programs []program) (*result, error) {
	r := &result{title, b.size, programs, make([][]float64, len(programs))}
	for round := range b.rounds {
		for k := range programs {
			i := (k + round) % len(programs) // nobody is always the first
			speed, err := fillSpeed(ctx, programs[i], b.size)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", programs[i].Name, err)
			}
			r.Speeds[i] = append(r.Speeds[i], speed)
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", title, round+1, b.rounds)
	}
	return r, nil
}

// fillSpeed runs p in a memory cgroup of its own and returns the bytes per
// second at which its usage goes from 10 % to 90 % of size.
func fillSpeed(ctx context.Context, p program, size mem.Bytes) (float64, error) {
	group, err := newCgroup(size + 512*mem.MiB)
	if err != nil {
		return 0, err
	}
	defer group.remove()
	usage, err := os.Open(group.usageFile())
	if err != nil {
		return 0, err
	}
	defer usage.Close()
	cmd, err := group.start(ctx, p.Argv)
	if err != nil {
		return 0, err
	}
	defer group.kill(cmd)
	var begin time.Time
	deadline := time.Now().Add(time.Minute)
	buf := make([]byte, 32)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		n, err := usage.ReadAt(buf, 0)
		if n == 0 {
			return 0, err
		}
		used, err := strconv.ParseInt(strings.TrimSpace(string(buf[:n])), 10, 64)
		if err != nil {
			return 0, err
		}
		switch at := mem.Bytes(used); {
		case begin.IsZero() && at >= size/10:
			begin = time.Now()
		case at >= size/10*9:
			return float64(size) * 0.8 / time.Since(begin).Seconds(), nil
		}
		time.Sleep(500 * time.Microsecond)
	}
	return 0, errors.Join(ctx.Err(), fmt.Errorf("did not fill %v within a minute", size))
}
