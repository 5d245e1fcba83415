package evidence

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/reconcile"
	"github.com/oomlab/oomlab/internal/record"
)

// victimEnv makes this test program a process that takes memory until the
// kernel kills it.
const victimEnv = "OOMLAB_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		time.Sleep(3 * censusInterval) // the census must have met it
		var held [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b) //nolint:staticcheck // holding it is the point
		}
	}
	os.Exit(m.Run())
}

// arena makes a cgroup of 32 MiB, or skips where this machine lets nobody.
func arena(t *testing.T) (Hierarchy, string) {
	t.Helper()
	h, err := FindHierarchy()
	if err != nil {
		t.Skipf("needs a memory controller: %v", err)
	}
	path := fmt.Sprintf("/oomlab-%d", os.Getpid())
	if err := os.Mkdir(h.Dir(path), 0o755); err != nil {
		t.Skipf("needs root, or a delegated cgroup: %v", err)
	}
	t.Cleanup(func() {
		for range 100 {
			if err = os.Remove(h.Dir(path)); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error(err)
	})
	file := map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}[h.Version]
	if err := os.WriteFile(filepath.Join(h.Dir(path), file), []byte("33554432"), 0); err != nil {
		t.Fatal(err)
	}
	return h, path
}

// Every kill is seen by log, trace and counter, and is on record soon after the
// kernel has made its choice. With -v it prints how soon.
func TestKillsReachTheRecordLive(t *testing.T) {
	h, path := arena(t)
	var marked atomic.Int32
	r, err := h.Record(t.Context(), path, func(string) record.Owner { return record.Owner{Pod: "p", Container: "c"} }, func() { marked.Add(1) })
	if err != nil {
		t.Skipf("needs the kernel's log: %v", err)
	}
	const kills = 100
	for range kills {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), victimEnv+"="+h.Dir(path), "GOGC=off")
		var exit *exec.ExitError
		if out, err := c.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the victim was not killed: %v: %s", err, out)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); len(r.Seen()) < kills && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	w, sources, err := r.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if sources[1].Error != "" {
		t.Skipf("this kernel has no trace: %s", sources[1].Error)
	}
	if n := marked.Load(); n != kills {
		t.Errorf("%d marks were told at once, of %d", n, kills)
	}
	result := reconcile.Reconcile(w)
	var latencies []time.Duration
	for _, k := range result.Kills {
		l, known := k.Latency()
		if !known || l < 0 || !slices.Contains(k.Sources, reconcile.Cgroup) {
			t.Fatalf("kill %d: latency %v, %v; seen by %v", k.Order, l, known, k.Sources)
		}
		latencies = append(latencies, l)
	}
	for _, f := range result.Findings {
		if f.Name != "reports-suppressed" {
			t.Errorf("finding: %v", f)
		}
	}
	if len(latencies) != kills {
		t.Fatalf("%d kills of %d", len(latencies), kills)
	}
	slices.Sort(latencies)
	median, p99 := latencies[kills/2], latencies[kills*99/100-1]
	t.Logf("%d kills, from oom:mark_victim to the record: median %v, p99 %v, slowest %v", kills, median, p99, latencies[kills-1])
	// The goal of 10 ms is for a machine that has a processor free.
	if median > 10*time.Millisecond {
		t.Errorf("median latency %v", median)
	}
}
