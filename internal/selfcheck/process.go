package selfcheck

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
)

// process is a running stressor.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	// held receives each time that the balloon holds, or once why it never will.
	held  chan error
	ended chan struct{}
}

// spawn starts a stressor as a child of the calling thread, in the cgroup that
// the thread is in (v1) or that dir is (v2, else nil). It dies with the thread.
func spawn(stressor string, p Process, dir *os.File) (*process, error) {
	// Without -limit it would refuse a plan beyond its own, which is the point.
	cmd := exec.Command(stressor, "-limit=1Gi", "-plan=fill "+strconv.FormatInt(int64(p.Size), 10)+", hold") //nolint:noctx // kill and Pdeathsig end it
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if dir != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe its commands: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe its events: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the stressor: %w", err)
	}
	started := &process{cmd: cmd, stdin: stdin, held: make(chan error, 4), ended: make(chan struct{})}
	go started.follow(stdout)
	adj := fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid)
	if err := os.WriteFile(adj, []byte(strconv.Itoa(p.Adj)), 0); err != nil {
		return started, fmt.Errorf("set oom_score_adj to %d: %w", p.Adj, err)
	}
	return started, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// follow reads the stressor's events until it ends.
func (p *process) follow(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var event struct{ Event, Message string }
		err := json.Unmarshal(lines.Bytes(), &event)
		switch {
		case err != nil:
			p.tell(fmt.Errorf("event %q: %w", lines.Text(), err))
		case event.Event == "holding":
			p.tell(nil)
		case event.Event == "error":
			p.tell(errors.New(event.Message))
		}
	}
	err := p.cmd.Wait()
	close(p.ended)
	p.tell(fmt.Errorf("the stressor ended: %w", err))
}

func (p *process) tell(err error) {
	select {
	case p.held <- err:
	default: // nobody is interested any more
	}
}

// grow lets the balloon grow to a level.
func (p *process) grow(level mem.Bytes) error {
	if _, err := fmt.Fprintf(p.stdin, "fill %d, hold\n", int64(level)); err != nil {
		return fmt.Errorf("tell the stressor to grow: %w", err)
	}
	return nil
}

// stop ends the process and waits until it is gone.
func (p *process) stop() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (p *process) isEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// isKilled reports, of a process that ended before we stopped it, that it was
// killed.
func (p *process) isKilled() bool {
	if !p.isEnded() {
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// enter moves the calling thread, which must be locked, into a cgroup of a v1
// hierarchy: children are born where their thread is.
func enter(h evidence.Hierarchy, cgroup string) error {
	tasks := filepath.Join(h.Dir(cgroup), "tasks")
	if err := os.WriteFile(tasks, []byte(strconv.Itoa(unix.Gettid())), 0); err != nil {
		return fmt.Errorf("enter cgroup %s: %w", cgroup, err)
	}
	return nil
}

func write(h evidence.Hierarchy, cgroup, file, value string) error {
	if err := os.WriteFile(filepath.Join(h.Dir(cgroup), file), []byte(value), 0); err != nil {
		return fmt.Errorf("write %s to %s of cgroup %s: %w", strings.TrimSpace(value), file, cgroup, err)
	}
	return nil
}
