package cgrouplab_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

// debuggerEnv makes this test program a debugger of that process, which it stops
// when it is about to end and keeps there, until its standard input ends.
const debuggerEnv = "OOMLAB_TEST_DEBUGGER"

func TestMain(m *testing.M) {
	if pid, err := strconv.Atoi(os.Getenv(debuggerEnv)); err == nil {
		if err := catchEnd(pid); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func catchEnd(pid int) error {
	runtime.LockOSThread() // a process is traced by a thread
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, unix.PTRACE_O_TRACEEXIT, 0, 0); errno != 0 {
		return fmt.Errorf("trace process %d: %w", pid, errno)
	}
	fmt.Println("traced")
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		switch {
		case !status.Stopped():
			return fmt.Errorf("process %d ended: %v", pid, status)
		case status.TrapCause() == unix.PTRACE_EVENT_EXIT:
			_, err := io.Copy(io.Discard, os.Stdin)
			return err // the process goes on when its debugger has ended
		}
		if err := unix.PtraceCont(pid, int(status.StopSignal())); err != nil {
			return fmt.Errorf("let process %d go on: %w", pid, err)
		}
	}
}

// newLab returns the lab, or skips where this machine lets nobody make cgroups
// or read the kernel's log.
func newLab(t *testing.T) (*cgrouplab.Lab, host.Facts) {
	t.Helper()
	h, err := evidence.FindHierarchy()
	if err != nil {
		t.Skipf("needs a memory controller: %v", err)
	}
	probe := h.Dir("/oomlab-probe")
	if err := os.Mkdir(probe, 0o755); err != nil {
		t.Skipf("needs root, or a delegated cgroup: %v", err)
	}
	if err := os.Remove(probe); err != nil {
		t.Fatal(err)
	}
	kmsg, err := evidence.OpenKmsg()
	if err != nil {
		t.Skipf("needs the kernel's log: %v", err)
	}
	if err := kmsg.Close(); err != nil {
		t.Fatal(err)
	}
	facts, err := host.Read()
	if err != nil {
		t.Fatal(err)
	}
	lab, err := cgrouplab.New(t.Context(), cgrouplab.Options{Kubelet: qos.Newest, LowestAdj: facts.LowestAdj})
	if err != nil {
		t.Fatal(err)
	}
	return lab, facts
}

// The kernel of this machine kills whom the model names, and a control that
// must fail does.
func TestScenariosOnThisKernel(t *testing.T) {
	lab, facts := newLab(t)
	for name, want := range map[string]record.Verdict{
		"qos-order": record.Pass, "oom-score-misleads": record.Pass, "least-kills": record.Pass,
		"control-inverted-order": record.Fail, "control-sigkill": record.Fail,
	} {
		s, err := scenarios.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := run.Run(t.Context(), lab, s, run.Options{Host: facts.Record()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Verdict != want {
			t.Errorf("%s: %s, want %s: %+v %+v", name, r.Verdict, want, r.Claims, r.Findings)
		}
	}
	own := filepath.Join(mount(t), fmt.Sprint(cgrouplab.Prefix, os.Getpid()))
	if _, err := os.Stat(own); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %s (%v)", own, err)
	}
}

// A container that presses on top of a balloon holds it, and no more, when the
// snapshot is taken, and makes memory run out as foretold.
func TestPressureOnTopOfABalloon(t *testing.T) {
	lab, facts := newLab(t)
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Workloads {
		if w := &s.Workloads[i]; w.Press != "" {
			w.Balloon = "fill 60Mi, hold 500ms, fill 120Mi"
		}
	}
	r, err := run.Run(t.Context(), lab, s, run.Options{Host: facts.Record()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != record.Pass {
		t.Errorf("%s: %+v %+v", r.Verdict, r.Claims, r.Findings)
	}
	for _, task := range r.Snapshot.Tasks {
		if r.Owners[task.PID].Workload != "pressure" {
			continue
		}
		if held := task.Anon.Bytes(r.Snapshot.Kernel.PageSize); held < 120*mem.MiB || held > 122*mem.MiB {
			t.Errorf("the pressing pod holds %s before it presses, want its balloon of 120Mi", held.Human())
		}
		return
	}
	t.Error("the snapshot has no pressing pod")
}

// A debugger has caught the end of the victim, which is dead and yet keeps its
// memory: the OOM reaper can't take what is shared.
func TestVictimKeepsItsMemory(t *testing.T) {
	lab, facts := newLab(t)
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	s.Workloads = slices.DeleteFunc(s.Workloads, func(w scenarios.Workload) bool { return w.Name != "best-effort" && w.Press == "" })
	s.Workloads[0].Balloon, s.Until.Kills, s.Expect = "shm fill 350Mi", 1, scenarios.Expect{}
	var release io.Closer
	defer func() {
		if release != nil {
			_ = release.Close() // after a failure
		}
	}()
	r, err := run.Run(t.Context(), lab, s, run.Options{Host: facts.Record(), Observe: func(e record.Event) {
		switch {
		case e.Step == "press" && release == nil:
			release = debug(t, processOf(t, "best-effort"))
		case e.Step == "finding" && strings.HasPrefix(e.Text, "victim-keeps-memory"):
			if err := release.Close(); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kills) == 0 || r.Kills[0].Owner.Workload != "best-effort" || r.Kills[0].Uncharged != nil {
		t.Errorf("kills: %+v", r.Kills)
	}
	i := slices.IndexFunc(r.Findings, func(f record.Finding) bool { return f.Name == "victim-keeps-memory" })
	if i < 0 || !regexp.MustCompile(`^best-effort still holds 3[45][0-9.]+Mi 5s after it was killed$`).MatchString(r.Findings[i].Text) {
		t.Errorf("findings: %v", r.Findings)
	}
}

// processOf returns the process of a container of the lab.
func processOf(t *testing.T, container string) int {
	t.Helper()
	h, err := evidence.FindHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := h.Walk(fmt.Sprint("/", cgrouplab.Prefix, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if filepath.Base(path) != container {
			continue
		}
		if pids, err := h.Procs(path); err == nil && len(pids) == 1 {
			return pids[0]
		}
	}
	t.Fatalf("no process of %s below %v", container, paths)
	return 0
}

// debug starts a debugger of the process. Closing what it returns ends it.
func debug(t *testing.T, pid int) io.Closer {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprint(debuggerEnv, "=", pid))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "traced\n" {
		t.Skipf("needs to trace another process: %q, %v", line, err)
	}
	return in
}

func mount(t *testing.T) string {
	t.Helper()
	h, err := evidence.FindHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	return h.Mount
}

func TestGlobalIsRefused(t *testing.T) {
	s := &scenarios.Scenario{Node: scenarios.Node{Domain: qos.LevelGlobal}}
	if _, err := new(cgrouplab.Lab).Prepare(t.Context(), s); err == nil || !strings.Contains(err.Error(), "--lab vm") {
		t.Errorf("error %v", err)
	}
}
