package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// invocation is one call of an engine's program.
type invocation struct {
	argv  []string
	env   []string // beyond our own
	stdin io.Reader
}

// runner runs an invocation and returns its standard output.
type runner func(context.Context, invocation) (string, error)

// CommandError is a command that failed.
type CommandError struct {
	Argv   []string
	Stderr string // what it printed, trimmed
	Err    error  // *exec.ExitError where it ran
}

func (e *CommandError) Error() string {
	s := fmt.Sprintf("%s: %v", strings.Join(e.Argv, " "), e.Err)
	if e.Stderr != "" {
		s += ": " + e.Stderr
	}
	return s
}

func (e *CommandError) Unwrap() error { return e.Err }

// command is the runner that runs programs. A cancelled context terminates the
// program, and gives it time to put its own state in order.
func command(ctx context.Context, i invocation) (string, error) {
	cmd := exec.CommandContext(ctx, i.argv[0], i.argv[1:]...)
	cmd.Env = append(os.Environ(), i.env...)
	cmd.Stdin = i.stdin
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	// In a group of its own it does not get the terminal's Ctrl-C; the context
	// does, and one clean-up is enough.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		return stdout.String(), &CommandError{Argv: i.argv, Stderr: strings.TrimSpace(stderr.String()), Err: err}
	}
	return stdout.String(), nil
}
