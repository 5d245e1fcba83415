package vmlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/mem"
)

// fakeQEMU puts a shell script in QEMU's place. The guest's ports are its
// descriptors 4 (console) and 5 (messages).
func fakeQEMU(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Program), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

var anyMachine = machine{kernel: "vmlinuz", memory: 64 * mem.MiB, accelerator: TCG}

func TestBootDeliversMessages(t *testing.T) {
	fakeQEMU(t, `
		printf '{"event":{"step":"one"}}\n{"event":{"st' >&5; sleep 0.1
		printf 'ep":"two"}}\n{"done":true,"error":"all is lost","log":"Linux version 6\\n"}\n' >&5
		printf 'Linux\r\n' >&4`)
	var steps []string
	out, err := anyMachine.boot(t.Context(), nil, func(m wire.Message) { steps = append(steps, m.Event.Step) })
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(steps, " "); got != "one two" {
		t.Errorf("events %q, want both, in order", got)
	}
	if out.last.Error != "all is lost" || out.log != "Linux version 6\n" {
		t.Errorf("outcome %+v", out)
	}
}

// The kernel's log is kept whole where the machine finished. Where it did not,
// the error says where what the console showed is.
func TestTheLogIsKept(t *testing.T) {
	for name, tt := range map[string]struct {
		script, log string
		finishes    bool
	}{
		"finishes":     {`printf 'quiet\r\n' >&4; printf '%s\n' '{"done":true,"log":"all of it\n"}' >&5`, "all of it\n", true},
		"without it":   {`printf 'quiet\r\n' >&4; echo '{"done":true}' >&5`, "quiet\n", true},
		"panics":       {`printf 'Kernel panic\r\n' >&4`, "Kernel panic\n", false},
		"QEMU refuses": {"echo 'no such CPU' >&2; exit 1", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			fakeQEMU(t, tt.script)
			m := anyMachine
			m.log = filepath.Join(t.TempDir(), "cell", "a-1.kernel.log")
			_, err := m.boot(t.Context(), nil, func(wire.Message) {})
			if text, readErr := os.ReadFile(m.log); readErr != nil || string(text) != tt.log {
				t.Errorf("kept %q, %v; want %q", text, readErr, tt.log)
			}
			if tt.finishes != (err == nil) || err != nil && (!errors.Is(err, ErrMachine) || !strings.Contains(err.Error(), m.log)) {
				t.Errorf("error %v, want one that names %s: %t", err, m.log, !tt.finishes)
			}
		})
	}
	t.Run("disk full", func(t *testing.T) {
		fakeQEMU(t, `echo '{"done":true,"exitCode":3,"log":"all of it"}' >&5`)
		m := anyMachine
		m.log = "/dev/full"
		out, err := m.boot(t.Context(), nil, func(wire.Message) {})
		if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrMachine) || out.last.ExitCode != 3 {
			t.Errorf("%+v, error %v: want the last word, and that the log is not kept", out, err)
		}
	})
}

// Whatever keeps a machine from its last word is an error that shows why.
func TestBootExplains(t *testing.T) {
	for name, tt := range map[string]struct {
		script string
		want   []string
	}{
		"QEMU refuses":  {"echo 'failed to set MSR 0x10a' >&2; exit 1", []string{"failed to set MSR 0x10a", "exit status 1"}},
		"kernel panics": {"echo 'Kernel panic - not syncing' >&4", []string{"Kernel panic", "restarted or was powered off"}},
		"silence":       {"true", []string{"never came so far"}},
		"garbage":       {"echo no JSON >&5", []string{"messages", "no JSON"}},
		"no last word":  {`echo '{"event":{"step":"one"}}' >&5`, []string{"restarted or was powered off"}},
	} {
		t.Run(name, func(t *testing.T) {
			fakeQEMU(t, tt.script)
			_, err := anyMachine.boot(t.Context(), nil, func(wire.Message) {})
			if !errors.Is(err, ErrMachine) {
				t.Fatalf("error %v, want ErrMachine", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
	t.Run("no QEMU", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := anyMachine.boot(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), Program) {
			t.Errorf("error %v, want the program's name", err)
		}
	})
}

func TestBootEndsAMachineThatHangs(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	fakeQEMU(t, "trap '' TERM; echo '[ 0.1] starting' >&4; echo $$ >"+pidFile+"; while :; do sleep 0.1; done")
	limit := 500 * time.Millisecond
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("it was ended after a while"))
	defer cancel()
	began := time.Now()
	_, err := anyMachine.boot(ctx, nil, func(wire.Message) {})
	if !errors.Is(err, ErrMachine) || !strings.Contains(err.Error(), "ended after a while") || !strings.Contains(err.Error(), "[ 0.1] starting") {
		t.Errorf("error %v, want why it was ended and the console", err)
	}
	if took := time.Since(began); took > limit+5*time.Second {
		t.Errorf("it took %s", took)
	}
	expectGone(t, pidFile)
}

const helperEnv = "VMLAB_TEST_BOOT"

// TestMain boots a machine and waits, where the test below asks for that.
func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		_, err := anyMachine.boot(context.Background(), nil, func(wire.Message) {})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestMachineDiesWithOomlab(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	fakeQEMU(t, "trap '' TERM; echo $$ >"+pidFile+"; while :; do sleep 0.1; done")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), self)
	parent.Env = append(os.Environ(), helperEnv+"=1")
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pidOf(t, pidFile)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	expectGone(t, pidFile)
}

// pidOf waits for the script to say its pid.
func pidOf(t *testing.T, file string) int {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(file)
		if pid, convErr := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && convErr == nil {
			return pid
		}
	}
	t.Fatal("the machine did not start")
	return 0
}

func expectGone(t *testing.T, pidFile string) {
	t.Helper()
	pid := pidOf(t, pidFile)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return // who reaps an orphan is up to this machine
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is still running", pid)
		}
	}
}

// Where QEMU is missing it may not be installed behind anybody's back.
func TestInstallRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"dpkg-query", "apt-get"} { // a Debian without any package
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv(apt.NoInstallEnv, "1")
	err := Install(t.Context(), io.Discard)
	if !errors.Is(err, apt.ErrRefused) || !strings.Contains(err.Error(), "apt-get install --no-install-recommends "+Package) {
		t.Errorf("error %v, want the command to run", err)
	}
}
