package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
)

// costs is what the stressor uses itself, and how exact it is.
type costs struct {
	Holding  float64   `json:"holding"`             // share of a CPU while holding
	Ramp     []float64 `json:"ramp"`                // share of a CPU of a ramp of 10 MiB/s, by round
	Paced    []float64 `json:"paced"`               // the same of a C program that faults in as much, as often
	Resident mem.Bytes `json:"residentBytes"`       // own memory while holding
	Moving   mem.Bytes `json:"residentMovingBytes"` // the most at any instant while moving

	Instants int       `json:"instants"` // at which the level was compared with the plan
	Off      int       `json:"off"`      // of them by more than 1 % and 1 MiB
	Farthest mem.Bytes `json:"farthestBytes"`
}

const (
	costRounds = 3
	costTime   = 8 * time.Second
)

func (b *bench) costs(ctx context.Context, m *measured) error {
	var c costs
	for range costRounds {
		for _, p := range []struct {
			argv  []string
			share *[]float64
		}{
			{[]string{b.stressor, "-plan", "ramp 100Mi at 10Mi/s, hold"}, &c.Ramp},
			{[]string{b.reference, strconv.FormatInt(int64(100*mem.MiB), 10), "paced"}, &c.Paced},
		} {
			used, _, err := cpuOf(ctx, p.argv)
			if err != nil {
				return err
			}
			*p.share = append(*p.share, used.Seconds()/costTime.Seconds())
		}
	}
	// A memfd is no part of the resident set, so what is resident is the
	// stressor itself.
	used, resident, err := cpuOf(ctx, []string{b.stressor, "-plan", "memfd fill 100Mi, hold"})
	if err != nil {
		return err
	}
	c.Holding, c.Resident = used.Seconds()/costTime.Seconds(), resident
	if c.Moving, err = b.moving(ctx); err != nil {
		return err
	}
	if err := b.exactness(ctx, &c); err != nil {
		return err
	}
	m.Costs = &c
	return nil
}

// moving returns the most that is resident of the stressor itself while it
// follows a plan, once it has started.
func (b *bench) moving(ctx context.Context) (most mem.Bytes, err error) {
	const plan = "fill 64Mi, release, hold 200ms, memfd ramp 80Mi at 20Mi/s, memfd saw 40Mi..80Mi every 200ms for 3s, hold"
	cmd := exec.CommandContext(ctx, b.stressor, "-plan", plan)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer end(cmd)
	time.Sleep(500 * time.Millisecond)
	for start := time.Now(); time.Since(start) < 6*time.Second; time.Sleep(2 * time.Millisecond) {
		now, err := residentOf(strconv.Itoa(cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		most = max(most, now)
	}
	return most, nil
}

// exactness compares a ramp with its plan every few milliseconds.
func (b *bench) exactness(ctx context.Context, c *costs) error {
	const rate, peak = 100 * mem.MiB, 500 * mem.MiB
	cmd := exec.CommandContext(ctx, b.stressor, "-plan", "ramp 500Mi at 100Mi/s, hold", "-start", "signal")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer end(cmd)
	pid, events := strconv.Itoa(cmd.Process.Pid), json.NewDecoder(stdout)
	var event struct {
		Event            string
		MonotonicSeconds float64
	}
	next := func(name string) error {
		for event.Event != name {
			if err := events.Decode(&event); err != nil {
				return fmt.Errorf("no event %q: %w", name, err)
			}
		}
		return nil
	}
	if err := next("ready"); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond)
	own, err := residentAnon(pid)
	if err != nil {
		return err
	}
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	if err := next("started"); err != nil {
		return err
	}
	level := func() mem.Bytes {
		return min(peak, mem.Bytes((monotonic()-event.MonotonicSeconds)*float64(rate)))
	}
	for {
		before := level()
		held, err := residentAnon(pid)
		if err != nil {
			return err
		}
		after := level()
		off := max(0, before-(held-own), (held-own)-after)
		c.Farthest = max(c.Farthest, off)
		c.Instants++
		if off > max(after/100, mem.MiB) {
			c.Off++
		}
		if after == peak {
			return nil
		}
		time.Sleep(3 * time.Millisecond)
	}
}

// monotonic reads the clock that events carry, in seconds.
func monotonic() float64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // every Linux has it
	return float64(now.Sec) + float64(now.Nsec)/1e9
}

// cpuOf runs argv and returns the CPU time that it uses in costTime, begun one
// second after its start, and its resident set at the end.
func cpuOf(ctx context.Context, argv []string) (time.Duration, mem.Bytes, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer end(cmd)
	time.Sleep(time.Second)
	before, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(costTime)
	after, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	size, err := residentOf(strconv.Itoa(cmd.Process.Pid))
	return after - before, size, err
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
}

// residentAnon reads the anonymous part of a process's resident set.
func residentAnon(pid string) (mem.Bytes, error) {
	data, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			return mem.ParseBytes(f[1] + "Ki")
		}
	}
	return 0, fmt.Errorf("process %s: no RssAnon", pid)
}

// residentOf reads the resident set of a process (statm, second field).
func residentOf(pid string) (mem.Bytes, error) {
	data, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	return mem.Pages(pages).Bytes(mem.Bytes(os.Getpagesize())), err
}

// cpuTime sums the time on a CPU of all threads, in nanoseconds of schedstat.
func cpuTime(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	var total time.Duration
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n)
	}
	return total, nil
}
