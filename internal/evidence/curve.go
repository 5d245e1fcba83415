package evidence

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/record"
)

// curveInterval is short beside a ramp of seconds, and costs three small reads.
const curveInterval = 250 * time.Millisecond

// Curve samples what a cgroup holds, and how long tasks waited for memory, until
// ctx ends. The channel then delivers what was seen, once. A cgroup that
// vanishes ends the curve early.
func (h Hierarchy) Curve(ctx context.Context, path string, started time.Time) <-chan record.Curve {
	done := make(chan record.Curve, 1)
	go func() {
		c := record.Curve{Cgroup: path}
		defer func() { done <- c }()
		stall, of := h.stallFile(path)
		c.StallOf = of
		tick := time.NewTicker(curveInterval)
		defer tick.Stop()
		for {
			s, err := h.sample(path, stall)
			if err != nil {
				if !gone(err) {
					c.Error = err.Error()
				}
				return
			}
			s.AtSeconds = time.Since(started).Seconds()
			c.Samples = append(c.Samples, s)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return done
}

// stallFile returns the file of pressure stall information: that of the cgroup
// (v2), or else the whole machine's, or none where the kernel keeps no such
// account (CONFIG_PSI, psi=0).
func (h Hierarchy) stallFile(path string) (file, of string) {
	own := filepath.Join(h.Dir(path), "memory.pressure")
	for _, c := range []struct{ file, of string }{{own, "cgroup"}, {"/proc/pressure/memory", "machine"}} {
		if _, err := readStall(c.file); err == nil {
			return c.file, c.of
		}
	}
	return "", ""
}

// sample reads memory.stat, whose names carry the prefix total_ in cgroup v1
// where they count what is below, too, and call anonymous memory rss and
// files cache.
func (h Hierarchy) sample(path, stall string) (s record.MemorySample, err error) {
	if s.Usage, err = h.Usage(path); err != nil {
		return s, err
	}
	stat, err := readKeys(filepath.Join(h.Dir(path), "memory.stat"))
	if err != nil {
		return s, err
	}
	anon, file, shmem := "anon", "file", "shmem"
	if h.Version == 1 {
		anon, file, shmem = "total_rss", "total_cache", "total_shmem"
	}
	s.Anon, s.File, s.Shmem = mem.Bytes(stat[anon]), mem.Bytes(stat[file]), mem.Bytes(stat[shmem])
	if stall != "" {
		s.Stalled, err = readStall(stall)
	}
	return s, err
}

// readStall reads "some avg10=… total=MICROSECONDS" and the line "full" below
// it, Documentation/accounting/psi.rst.
func readStall(file string) (*record.Stall, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	total := map[string]float64{}
	for line := range strings.Lines(string(data)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, n, ok := strings.Cut(rest, "total="); ok {
			us, err := strconv.ParseUint(n, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			total[kind] = (time.Duration(us) * time.Microsecond).Seconds()
		}
	}
	if len(total) < 2 {
		return nil, fmt.Errorf("read %s: no totals in %q", file, data)
	}
	return &record.Stall{SomeSeconds: total["some"], FullSeconds: total["full"]}, nil
}

// readKeys reads a file of "key value" lines.
func readKeys(file string) (map[string]int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys := map[string]int64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if keys[key], err = strconv.ParseInt(value, 10, 64); err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", key, file, err)
		}
	}
	return keys, lines.Err()
}

// readKey reads one number of such a file.
func readKey(file, key string) (int64, error) {
	keys, err := readKeys(file)
	if err != nil {
		return 0, err
	}
	n, ok := keys[key]
	if !ok {
		return 0, fmt.Errorf("%s has no %s", file, key)
	}
	return n, nil
}
