package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// result is the speeds of a comparison, by program and round.
type result struct {
	comparison
	speeds [][]float64 // bytes per second
}

// ratios returns, for each round, the speed of the first program in multiples
// of program i's.
func (r result) ratios(i int) []float64 {
	out := make([]float64, len(r.speeds[0]))
	for round := range out {
		out[round] = r.speeds[0][round] / r.speeds[i][round]
	}
	return out
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func compare(ctx context.Context, c comparison, rounds int, size mem.Bytes) (result, error) {
	r := result{c, make([][]float64, len(c.programs))}
	for round := range rounds {
		for k := range c.programs {
			i := (k + round) % len(c.programs) // nobody is always the first
			speed, err := fillSpeed(ctx, c.programs[i], size)
			if err != nil {
				return r, fmt.Errorf("%s: %w", c.programs[i].name, err)
			}
			r.speeds[i] = append(r.speeds[i], speed)
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", c.title, round+1, rounds)
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
	cmd, err := group.start(ctx, p.argv)
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
		time.Sleep(200 * time.Microsecond)
	}
	return 0, errors.Join(ctx.Err(), fmt.Errorf("did not fill %v within a minute", size))
}

// cgroup is a memory cgroup of version 1 or 2.
type cgroup struct {
	dir string
	v2  bool
}

func newCgroup(limit mem.Bytes) (cgroup, error) {
	root, limitFile, v2 := "/sys/fs/cgroup/memory", "memory.limit_in_bytes", false
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, limitFile, v2 = "/sys/fs/cgroup", "memory.max", true
	}
	dir, err := os.MkdirTemp(root, "oomlab-bench-")
	if err != nil {
		return cgroup{}, fmt.Errorf("make a memory cgroup: %w: run as root", err)
	}
	err = os.WriteFile(filepath.Join(dir, limitFile), []byte(strconv.FormatInt(int64(limit), 10)), 0o644)
	return cgroup{dir, v2}, err
}

func (g cgroup) usageFile() string {
	if g.v2 {
		return filepath.Join(g.dir, "memory.current")
	}
	return filepath.Join(g.dir, "memory.usage_in_bytes")
}

// start runs argv in g and in a process group of its own.
func (g cgroup) start(ctx context.Context, argv []string) (*exec.Cmd, error) {
	script := `echo $$ > "$0/cgroup.procs" && exec "$@"`
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", script, g.dir}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

func (g cgroup) kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	_ = cmd.Wait()                                      // killed
}

// remove waits until the last process is gone.
func (g cgroup) remove() {
	for range 500 {
		if err := os.Remove(g.dir); !errors.Is(err, syscall.EBUSY) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "bench: could not remove", g.dir)
}

// costs is what the stressor uses itself.
type costs struct {
	holding  float64   // share of a CPU while holding
	ramp     []float64 // share of a CPU of a ramp of 10 MiB/s, by round
	paced    []float64 // the same of a C program that faults in as much, as often
	resident mem.Bytes
}

const (
	costRounds = 3
	costTime   = 8 * time.Second
)

func measureCosts(ctx context.Context, stressor, reference string) (costs, error) {
	var c costs
	for range costRounds {
		for _, m := range []struct {
			argv  []string
			share *[]float64
		}{
			{[]string{stressor, "-plan", "ramp 100Mi at 10Mi/s, hold"}, &c.ramp},
			{[]string{reference, strconv.FormatInt(int64(100*mem.MiB), 10), "paced"}, &c.paced},
		} {
			used, _, err := cpuOf(ctx, m.argv)
			if err != nil {
				return c, err
			}
			*m.share = append(*m.share, used.Seconds()/costTime.Seconds())
		}
	}
	// A memfd is no part of the resident set, so what is resident is the
	// stressor itself.
	used, resident, err := cpuOf(ctx, []string{stressor, "-plan", "memfd fill 100Mi, hold"})
	c.holding, c.resident = used.Seconds()/costTime.Seconds(), resident
	return c, err
}

// cpuOf runs argv and returns the CPU time that it uses in costTime, begun one
// second after its start, and its resident set at the end.
func cpuOf(ctx context.Context, argv []string) (time.Duration, mem.Bytes, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
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
