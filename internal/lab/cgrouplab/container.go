package cgrouplab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// container is one stressor in its cgroup. With exec it is the second one there.
type container struct {
	exec    bool
	owner   record.Owner
	cgroup  string
	class   qos.Class
	args    []string
	adj     int
	presses bool

	cmd      *exec.Cmd
	settling lab.Settling
	ready    chan error // receives one value: nil, or why the balloon doesn't hold

	since time.Time

	mu    sync.Mutex
	ended *record.Termination
	done  chan struct{}
}

// startTimeout bounds the time in which every balloon has to be blown up: a
// second, or half a minute where every instruction is translated.
const startTimeout = 2 * time.Minute

// Start starts every stressor and waits until each balloon holds.
func (n *node) Start(ctx context.Context) error {
	timeout := time.After(startTimeout)
	for _, exec := range []bool{false, true} { // the second processes come second
		for _, c := range n.containers {
			if c.exec != exec {
				continue
			}
			if err := c.start(n.lab); err != nil {
				return fmt.Errorf("start %s: %w", c.owner, err)
			}
		}
		for _, c := range n.containers {
			if c.exec != exec {
				continue
			}
			if err := c.await(ctx, timeout); err != nil {
				return err
			}
		}
	}
	return nil
}

// await waits until the stressor is as it should be before the pressure.
func (c *container) await(ctx context.Context, timeout <-chan time.Time) error {
	select {
	case err := <-c.ready:
		if err != nil {
			return fmt.Errorf("balloon of %s: %w", c.owner, err)
		}
		return nil
	case <-timeout:
		return fmt.Errorf("balloon of %s does not hold after %s", c.owner, startTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *container) start(l *Lab) error {
	c.cmd = exec.Command(l.stressor, c.args...) //nolint:noctx // stop ends it, after an interruption, too
	c.cmd.Stderr = os.Stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("pipe its events: %w", err)
	}
	c.since = time.Now()
	if err := startInCgroup(c.cmd, l.hierarchy, c.cgroup); err != nil {
		return err
	}
	c.ready, c.done = make(chan error, 1), make(chan struct{})
	go c.follow(stdout)
	if err := setScore(c.cmd.Process.Pid, c.adj); err != nil {
		return errors.Join(err, c.stop())
	}
	return nil
}

// startInCgroup starts cmd as a member of the cgroup from its first page on. It
// dies with this process.
func startInCgroup(cmd *exec.Cmd, h evidence.Hierarchy, cgroup string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if h.Version == 2 {
		dir, err := os.Open(h.Dir(cgroup))
		if err != nil {
			return fmt.Errorf("open its cgroup: %w", err)
		}
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
		return cmd.Start()
	}
	// In cgroup v1 a thread may be a member by itself, and its children are
	// born where it is. The thread goes back afterwards: if it ended instead,
	// Pdeathsig would take the child along.
	home, err := h.Of(os.Getpid())
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	move := func(to string) error {
		return os.WriteFile(filepath.Join(h.Dir(to), "tasks"), []byte(strconv.Itoa(unix.Gettid())), 0)
	}
	if err := move(cgroup); err != nil {
		return fmt.Errorf("enter its cgroup: %w", err)
	}
	return errors.Join(cmd.Start(), move(home))
}

// setScore writes the score of a process that has just been started. exec tells
// its parent a moment before it hands /proc/PID from root to the user
// (begin_new_exec, fs/exec.c): a refusal may be no more than that.
func setScore(pid, adj int) error {
	const tries = 100
	for try := 1; ; try++ {
		err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(adj)), 0)
		if err == nil {
			return nil
		}
		if try == tries || !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("set oom_score_adj to %d: %w", adj, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// follow reads the stressor's events until it ends, and notes how it ended.
func (c *container) follow(stdout io.Reader) {
	defer close(c.done)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if settled, err := c.settling.Event(lines.Bytes()); settled || err != nil {
			c.tellReady(err)
		}
	}
	err := c.cmd.Wait()
	c.tellReady(fmt.Errorf("ended before it held: %w", err))
	end := &record.Termination{Reason: "Completed", Started: c.since, Finished: time.Now()}
	status, _ := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		end.Reason, end.ExitCode = "Error", 128+int(status.Signal())
	case status.ExitStatus() != 0:
		end.Reason, end.ExitCode = "Error", status.ExitStatus()
	}
	c.mu.Lock()
	c.ended = end
	c.mu.Unlock()
}

// tellReady delivers the first result; later ones change nothing.
func (c *container) tellReady(err error) {
	select {
	case c.ready <- err:
	default:
	}
}

func (c *container) kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", c.owner, err)
	}
	return nil
}

// stop ends the stressor, if it was started and still runs.
func (c *container) stop() error {
	if c.done == nil {
		return nil
	}
	if err := c.kill(); err != nil {
		return err
	}
	<-c.done
	return nil
}

// Pods returns each pod as its processes are. The kernel's counter of the
// cgroup takes the place of a runtime's reason.
func (n *node) Pods(context.Context) ([]record.Pod, error) {
	var pods []record.Pod
	for _, c := range n.containers {
		if c.exec {
			continue
		}
		if len(pods) == 0 || pods[len(pods)-1].Name != c.owner.Pod {
			pods = append(pods, record.Pod{
				Name: c.owner.Pod, Workload: c.owner.Workload, UID: c.owner.Pod,
				Node: n.Facts().Name, QoSClass: string(c.class), Phase: "Running",
			})
		}
		c.mu.Lock()
		ended := c.ended
		c.mu.Unlock()
		if ended != nil {
			kills, err := n.lab.hierarchy.OOMKills(c.cgroup)
			if err != nil {
				return nil, err
			}
			if kills > 0 {
				ended.Reason = "OOMKilled"
			}
		}
		pod := &pods[len(pods)-1]
		pod.Containers = append(pod.Containers, record.Container{Name: c.owner.Container, ID: c.cgroup, Running: ended == nil, Ended: ended})
	}
	return pods, nil
}
