// Package proc runs programs that must not outlive oomlab, and whose failures
// must explain themselves.
package proc

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// killDelay is how long a program may take to clean up after SIGTERM.
const killDelay = 20 * time.Second

// tailLines is how much of a failed program's stderr its error carries.
const tailLines = 20

// Command returns a command that gets SIGTERM, with all of its process group,
// when ctx ends, and by itself when oomlab dies without a word; it is killed
// when it does not obey. The group of its own also keeps a terminal's Ctrl-C
// from reaching it before oomlab has decided what to stop first.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	return cmd
}

// Isolated is Command in a mount and a PID namespace of its own, for programs
// that mount things or start daemons: nobody else sees their mounts (nor can
// remove files through one that was left behind), and all that they started is
// killed with them, at once. It needs root.
func Isolated(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := Command(ctx, name, args...)
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // and all mounts private
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	// The first process of a PID namespace need not obey anything less.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	return cmd
}

// Run runs cmd. Its error carries the arguments, how the program ended, and
// the end of its stderr, unless the caller took that stream for itself.
func Run(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	if err := cmd.Run(); err != nil {
		if text := tail(stderr.String()); text != "" {
			return fmt.Errorf("run %s: %w\n%s", strings.Join(cmd.Args, " "), err, text)
		}
		return fmt.Errorf("run %s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

// Output runs cmd as Run does, and returns what it wrote to stdout.
func Output(cmd *exec.Cmd) ([]byte, error) {
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	err := Run(cmd)
	return stdout.Bytes(), err
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
