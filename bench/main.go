// Bench measures the stressor against stress-ng and a small C program on the
// machine it runs on, and the rest of the project against its own figures, and
// writes docs/benchmarks.md and its plot:
//
//	go run ./bench                     (make bench)
//	go run ./bench -only fill,costs    measures these again, and keeps the rest
//
// Every program that fills memory does so in a memory cgroup of its own, and
// the kernel's counter of that cgroup is watched from outside: nobody is asked
// how fast it was. The programs take turns, and each round gives one ratio, so
// that whatever else the machine does meets all of them; reported are medians
// of ratios.
//
// It needs root, gcc and stress-ng; the latter two are installed where they are
// missing and apt can. What was measured is kept in artifacts/bench/measured.json.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/mem"
)

// bench is one run of this program.
type bench struct {
	rounds    int
	size      mem.Bytes
	stressor  string // program
	reference string // program
	stressNG  string // program
}

// slice is a part of the measurements that can be repeated alone.
type slice struct {
	name    string
	measure func(*bench, context.Context, *measured) error
}

var everything = []slice{
	{"fill", (*bench).fill}, {"thp", (*bench).thp}, {"costs", (*bench).costs}, {"models", (*bench).models},
	{"selfcheck", (*bench).selfcheck}, {"kills", (*bench).kills}, {"cluster", (*bench).cluster},
}

// measured is all that was measured, and under which conditions.
type measured struct {
	Conditions map[string]conditions `json:"conditions"` // by slice
	Fill       *result               `json:"fill,omitempty"`
	THP        *result               `json:"thp,omitempty"`
	Costs      *costs                `json:"costs,omitempty"`
	Models     []goBenchmark         `json:"models,omitempty"`
	Selfcheck  *selfcheckFigures     `json:"selfcheck,omitempty"`
	Kills      *killFigures          `json:"kills,omitempty"`
	Cluster    *clusterFigures       `json:"cluster,omitempty"`
}

func main() {
	b := bench{size: 2 * mem.GiB}
	flag.IntVar(&b.rounds, "rounds", 15, "rounds of each comparison")
	flag.Func("size", "how much to fill (default 2Gi)", func(s string) (err error) {
		b.size, err = mem.ParseBytes(s)
		return err
	})
	var names []string
	for _, s := range everything {
		names = append(names, s.name)
	}
	only := flag.String("only", strings.Join(names, ","), "what to measure, `separated` by commas")
	out := flag.String("out", "docs", "directory for benchmarks.md and benchmarks.svg")
	kept := flag.String("kept", "artifacts/bench/measured.json", "file that keeps what was measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx, strings.Split(*only, ","), *kept, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, only []string, kept, out string) error {
	for _, name := range only {
		if !slices.ContainsFunc(everything, func(s slice) bool { return s.name == name }) {
			return fmt.Errorf("-only %s: there is no such measurement", name)
		}
	}
	dir, err := os.MkdirTemp("", "oomlab-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.prepare(ctx, dir); err != nil {
		return err
	}
	m := measured{Conditions: map[string]conditions{}}
	if data, err := os.ReadFile(kept); err == nil {
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("%s: %w: remove it", kept, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer hurry()()
	for _, s := range everything {
		if !slices.Contains(only, s.name) {
			continue
		}
		start := time.Now()
		if err := s.measure(b, ctx, &m); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		m.Conditions[s.name] = conditionsNow()
		fmt.Fprintf(os.Stderr, "%s: measured in %.0f s\n", s.name, time.Since(start).Seconds())
	}
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(filepath.Dir(kept), 0o755), os.WriteFile(kept, data, 0o644),
		os.WriteFile(filepath.Join(out, "benchmarks.md"), document(m), 0o644),
		os.WriteFile(filepath.Join(out, "benchmarks.svg"), plot(m), 0o644),
	)
}

// prepare builds the programs, and installs the one that others have built.
func (b *bench) prepare(ctx context.Context, dir string) (err error) {
	for _, tool := range []string{"gcc", "stress-ng"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if err := apt.Ensure(ctx, os.Stderr, tool); err != nil {
			return err
		}
	}
	b.stressor, b.reference = filepath.Join(dir, "oomlab-stressor"), filepath.Join(dir, "populate")
	if err := build(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.stressor, "./stressor"); err != nil {
		return err
	}
	if err := build(ctx, "gcc", "-O2", "-o", b.reference, "bench/reference/populate.c"); err != nil {
		return err
	}
	b.stressNG, err = exec.LookPath("stress-ng")
	return err
}

func build(ctx context.Context, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // static, as it is shipped
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return nil
}

// hurry lets what others do on the machine disturb less, where it has the right
// to, and returns what undoes it. The processes of a session share what the
// scheduler gives to it (CONFIG_SCHED_AUTOGROUP), so that niceness within it
// means nothing to other sessions.
func hurry() (undo func()) {
	const session = "/proc/self/autogroup"
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -10)
	before, err := os.ReadFile(session) // /autogroup-19 nice 0
	if err != nil || os.WriteFile(session, []byte("-15"), 0) != nil {
		return func() {}
	}
	nice := before[strings.LastIndexByte(string(before), ' ')+1:]
	return func() { _ = os.WriteFile(session, []byte(strings.TrimSpace(string(nice))), 0) }
}
