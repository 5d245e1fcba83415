// Bench measures the stressor against stress-ng and a small C program on the
// machine it runs on, and writes docs/benchmarks.md and its plot:
//
//	go run ./bench            (make bench)
//
// Every program fills a memory cgroup of its own, and the kernel's counter of
// that cgroup is watched from outside: nobody is asked how fast it was. The
// programs take turns, and each round gives one ratio, so that whatever else
// the machine does meets all of them; reported are medians of ratios.
//
// It needs root, gcc and stress-ng; the latter two are installed where they are
// missing and apt can.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/mem"
)

func main() {
	rounds := flag.Int("rounds", 15, "rounds of each comparison")
	out := flag.String("out", "docs", "directory for benchmarks.md and benchmarks.svg")
	size := mem.GiB
	flag.Func("size", "how much to fill (default 1Gi)", func(s string) (err error) {
		size, err = mem.ParseBytes(s)
		return err
	})
	flag.Parse()
	// Others on the machine shall disturb less; without the right to, they do.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -10)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rounds, size, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// program is one thing that fills memory.
type program struct {
	name string
	argv []string
}

// comparison is several programs that do the same; the first is the stressor.
type comparison struct {
	title    string
	programs []program
	goals    []float64 // what the first is at least, in multiples of the others; 0: not compared
}

func run(ctx context.Context, rounds int, size mem.Bytes, out string) error {
	dir, err := os.MkdirTemp("", "oomlab-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for tool, pkg := range map[string]string{"gcc": "gcc", "stress-ng": "stress-ng"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if err := apt.Ensure(ctx, os.Stderr, pkg); err != nil {
			return err
		}
	}
	stressor, reference := filepath.Join(dir, "oomlab-stressor"), filepath.Join(dir, "populate")
	if err := build(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", stressor, "./stressor"); err != nil {
		return err
	}
	if err := build(ctx, "gcc", "-O2", "-o", reference, "bench/reference/populate.c"); err != nil {
		return err
	}
	stressNG, err := exec.LookPath("stress-ng")
	if err != nil {
		return err
	}
	bytes := strconv.FormatInt(int64(size), 10)
	comparisons := []comparison{
		{"Fill, base pages", []program{
			{"oomlab-stressor, `fill`", []string{stressor, "-plan", "fill " + size.String() + ", hold"}},
			// Without --vm-madvise it draws its advice, huge pages among it.
			{"stress-ng `--vm 1`, default method", []string{stressNG, "--vm", "1", "--vm-bytes", bytes, "--vm-keep", "--vm-madvise", "nohugepage"}},
			{"C, `MAP_POPULATE`", []string{reference, bytes, "base"}},
		}, []float64{0, 2, 0.95}},
		{"Fill, transparent huge pages", []program{
			{"oomlab-stressor, `thp fill`", []string{stressor, "-plan", "thp fill " + size.String() + ", hold"}},
			{"C, `MADV_HUGEPAGE`, `MADV_POPULATE_WRITE`", []string{reference, bytes, "thp"}},
		}, []float64{0, 0.9}},
	}
	var results []result
	for _, c := range comparisons {
		r, err := compare(ctx, c, rounds, size)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	cost, err := measureCosts(ctx, stressor, reference)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(out, "benchmarks.md"), document(results, cost, rounds, size), 0o644),
		os.WriteFile(filepath.Join(out, "benchmarks.svg"), plot(results), 0o644),
	)
}

func build(ctx context.Context, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // static, as it is shipped
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return nil
}
