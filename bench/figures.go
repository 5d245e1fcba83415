package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/oomlab/oomlab/internal/engine"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/lab/kindlab"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/internal/selfcheck"
	"github.com/oomlab/oomlab/scenarios"
)

// goBenchmark is what a benchmark of the packages' own tests says.
type goBenchmark struct {
	Name        string  `json:"name"`
	NsPerOp     float64 `json:"nsPerOp"`
	MBPerSecond float64 `json:"mbPerSecond,omitempty"`
}

// BenchmarkNoise-2   	  1234	  567890 ns/op	 1154.72 MB/s
var benchmarkLine = regexp.MustCompile(`(?m)^(Benchmark\w+)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op(?:\s+([0-9.]+) MB/s)?`)

// models runs the benchmarks of the pure packages.
func (b *bench) models(ctx context.Context, m *measured) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchtime", "2s", "./internal/oom", "./internal/oomreport")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	m.Models = nil
	for _, f := range benchmarkLine.FindAllStringSubmatch(string(out), -1) {
		g := goBenchmark{Name: f[1]}
		g.NsPerOp, _ = strconv.ParseFloat(f[2], 64) // the pattern makes sure
		g.MBPerSecond, _ = strconv.ParseFloat(f[3], 64)
		m.Models = append(m.Models, g)
	}
	if len(m.Models) == 0 {
		return fmt.Errorf("%v: no benchmarks in its output:\n%s", cmd.Args, out)
	}
	return nil
}

// selfcheckFigures is the speed of experiments in which the kernel kills.
type selfcheckFigures struct {
	Experiments int     `json:"experiments"`
	Killed      int     `json:"killed"` // in how many of them the kernel killed
	Agree       int     `json:"agree"`  // with the forecast
	Seconds     float64 `json:"seconds"`
}

func (b *bench) selfcheck(ctx context.Context, m *measured) error {
	facts, err := host.Read()
	if err != nil {
		return err
	}
	r, err := selfcheck.Run(ctx, selfcheck.Options{
		Experiments: 800, Seed: 1, Workers: facts.CPUs, LowestAdj: facts.LowestAdj, Stressor: b.stressor,
		CgroupName: fmt.Sprintf("%s%d", cgrouplab.Prefix, os.Getpid()), Progress: func(int) {},
	})
	m.Selfcheck = &selfcheckFigures{r.Experiments, r.Experiments - r.NoKill, r.Forecast.Agree, r.ElapsedSeconds}
	return err
}

// killFigures is how long a victim's memory takes to come back.
type killFigures struct {
	// Seconds from the kernel's decision, by its log, to the moment in which the
	// victim has no memory any more, by victim.
	Seconds []float64 `json:"seconds"`
}

const killRuns = 5

// kills runs a scenario in the cgroup lab, again and again.
func (b *bench) kills(ctx context.Context, m *measured) error {
	facts, err := host.Read()
	if err != nil {
		return err
	}
	if err := os.Setenv(lab.StressorEnv, b.stressor); err != nil {
		return err
	}
	cgroups, err := cgrouplab.New(ctx, cgrouplab.Options{Kubelet: qos.Newest, LowestAdj: facts.LowestAdj})
	if err != nil {
		return err
	}
	s, err := scenarios.Named("qos-order")
	if err != nil {
		return err
	}
	var k killFigures
	for range killRuns {
		r, err := run.Run(ctx, cgroups, s, run.Options{Host: facts.Record()})
		if err != nil {
			return err
		}
		for _, kill := range r.Kills {
			if kill.Uncharged != nil && !kill.Needless {
				k.Seconds = append(k.Seconds, kill.Uncharged.Sub(kill.Time).Seconds())
			}
		}
	}
	if len(k.Seconds) == 0 {
		return errors.New("no kill whose memory came back was seen")
	}
	m.Kills = &k
	return nil
}

// clusterFigures is how long a kind cluster takes, its node image being there.
type clusterFigures struct {
	Up      float64 `json:"upSeconds"`
	Down    float64 `json:"downSeconds"`
	Workers int     `json:"workers"`
}

func (b *bench) cluster(ctx context.Context, m *measured) error {
	facts, err := host.Read()
	if err != nil {
		return err
	}
	e, err := engine.Find(ctx, engine.Options{Out: os.Stderr})
	if err != nil {
		return err
	}
	image, err := nodeimage.Ensure(ctx, e, nodeimage.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	if err := os.Setenv(lab.StressorEnv, b.stressor); err != nil {
		return err
	}
	start := time.Now()
	c, err := kindlab.Create(ctx, e, kindlab.Options{Name: kindlab.NewName(), Image: image, Host: facts, Out: os.Stderr})
	if err != nil {
		return err
	}
	up := time.Since(start)
	start = time.Now()
	if err := c.Delete(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	m.Cluster = &clusterFigures{Up: up.Seconds(), Down: time.Since(start).Seconds(), Workers: len(c.Workers())}
	return nil
}
