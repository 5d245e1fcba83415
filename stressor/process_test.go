package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
)

// build builds the stressor as it is shipped, once, or takes the one that
// OOMLAB_STRESSOR names: where there is no compiler, as in a virtual machine.
var build = sync.OnceValues(func() (string, error) {
	if ready := os.Getenv("OOMLAB_STRESSOR"); ready != "" {
		return ready, nil
	}
	dir, err := os.MkdirTemp("", "oomlab-stressor-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "oomlab-stressor")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// enterEnv names the cgroup that this program enters before it becomes the one
// that its arguments name.
const enterEnv = "OOMLAB_TEST_ENTER"

func enter(cgroup string) error {
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
		return err
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

func TestMain(m *testing.M) {
	if cgroup := os.Getenv(enterEnv); cgroup != "" {
		fmt.Fprintln(os.Stderr, enter(cgroup))
		os.Exit(125)
	}
	code := m.Run()
	if path, err := build(); err == nil && os.Getenv("OOMLAB_STRESSOR") == "" {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

type event struct {
	Event                              string
	PID, Child, Signal, ExitCode       int
	HeldBytes, ResidentBytes, Restarts int64
	MonotonicSeconds, ForSeconds       float64
	Verb, Kind, Message                string
}

// stressor is a running oomlab-stressor.
type stressor struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events chan event
	stderr bytes.Buffer
}

// start runs the stressor, in cgroup if that is not empty.
func start(t *testing.T, cgroup string, args ...string) *stressor {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &stressor{t: t, events: make(chan event, 1000), cmd: exec.Command(path, args...)}
	if cgroup != "" { // enter it before the first byte is used
		s.cmd = exec.Command(os.Args[0], append([]string{path}, args...)...)
		s.cmd.Env = append(os.Environ(), enterEnv+"="+cgroup)
	}
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	go func() {
		defer close(s.events)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("%s: %v", lines.Text(), err)
			}
			s.events <- e
		}
	}()
	return s
}

// await returns the next event of that name.
func (s *stressor) await(name string) event {
	s.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-s.events:
			switch {
			case !ok:
				s.t.Fatalf("ended before %q: %s", name, s.stderr.String())
			case e.Event == name:
				return e
			}
		case <-timeout:
			s.t.Fatalf("no event %q", name)
		}
	}
}

func (s *stressor) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// exitCode waits for the end.
func (s *stressor) exitCode() int {
	s.t.Helper()
	for range s.events {
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

// status reads a field of /proc/PID/status that is in kB.
func (s *stressor) status(field string) mem.Bytes { s.t.Helper(); return s.kilobytes("status", field) }

// referenced is the mapped memory that the kernel takes for used.
func (s *stressor) referenced() mem.Bytes {
	s.t.Helper()
	return s.kilobytes("smaps_rollup", "Referenced")
}

// kilobytes reads a field that is in kB from a file of /proc/PID.
func (s *stressor) kilobytes(file, field string) mem.Bytes {
	s.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, file))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); f[0] == field+":" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				s.t.Fatal(err)
			}
			return mem.Bytes(n) * mem.KiB
		}
	}
	s.t.Fatalf("no %s", field)
	return 0
}

// cpu returns the CPU time of all threads.
func (s *stressor) cpu() time.Duration {
	s.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		s.t.Fatal("no threads", err)
	}
	var total time.Duration
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that has just ended
		}
		n, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		total += time.Duration(n)
	}
	return total
}

// monotonic reads the clock that events carry.
func monotonic(t *testing.T) float64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return float64(now.Sec) + float64(now.Nsec)/1e9
}
