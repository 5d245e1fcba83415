package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunExplainsFailure(t *testing.T) {
	err := Run(Command(t.Context(), "sh", "-c", "echo no such luck >&2; exit 3"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("err = %v, want exit code 3", err)
	}
	for _, want := range []string{"sh -c", "no such luck"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("err = %q, want %q in it", err, want)
		}
	}
}

func TestOutput(t *testing.T) {
	out, err := Output(Command(t.Context(), "sh", "-c", "echo data; echo noise >&2"))
	if string(out) != "data\n" || err != nil {
		t.Errorf("Output = %q, %v", out, err)
	}
}

// A grandchild is what a plain exec.CommandContext would leave behind.
func TestCancelEndsTheWholeGroup(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(Command(ctx, "sh", "-c", "sleep 60 & echo $! >"+pidFile+".new; mv "+pidFile+".new "+pidFile+"; wait"))
	}()
	pid := 0
	for deadline := time.Now().Add(10 * time.Second); pid == 0; {
		if text, err := os.ReadFile(pidFile); err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
				t.Fatal(err)
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the program did not start")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled program reported success")
	}
	for deadline := time.Now().Add(10 * time.Second); running(pid); {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the grandchild is still running")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// What an isolated program mounts must not be seen from outside, where a
// cleanup could delete through it; and a process that even left its process
// group must end with it.
func TestIsolated(t *testing.T) {
	if err := Run(Isolated(t.Context(), "true")); errors.Is(err, syscall.EPERM) {
		t.Skipf("namespaces need root: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(Isolated(ctx, "sh", "-c", "cd "+dir+" && mkdir mnt && mount -t tmpfs none mnt && echo >mnt/inside && "+
			"setsid sleep 60 & cd "+dir+"; until test -e mnt/inside; do sleep 0.01; done; echo >ready; wait; sleep 60"))
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the program did not start")
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "mnt", "inside")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mount is seen from outside: %v", err)
	}
	if len(processesIn(t, dir)) == 0 {
		t.Error("its processes are not to be found while they run")
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled program reported success")
	}
	if left := processesIn(t, dir); len(left) > 0 {
		t.Errorf("processes %v are still running", left)
	}
}

// processesIn returns the processes whose working directory is dir.
func processesIn(t *testing.T, dir string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(links) == 0 {
		t.Fatalf("read /proc: %v, %v", links, err)
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && cwd == dir {
			pids = append(pids, link)
		}
	}
	return pids
}

// running is false for a zombie too: who reaps an orphan is up to the machine.
func running(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
