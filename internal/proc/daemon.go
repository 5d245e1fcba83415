package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Daemon is a program that runs beside others until it is stopped.
type Daemon struct {
	PID int
	// Log is the file with its output.
	Log string

	cmd   *exec.Cmd
	ended chan struct{}
	exit  error
}

// StartDaemon starts cmd with its output in the file log.
func StartDaemon(cmd *exec.Cmd, log string) (*Daemon, error) {
	d := &Daemon{Log: log, cmd: cmd, ended: make(chan struct{})}
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", d.name(), err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", d.name(), err)
	}
	d.PID = cmd.Process.Pid
	go func() { d.exit = cmd.Wait(); close(d.ended) }()
	return d, nil
}

func (d *Daemon) name() string { return filepath.Base(d.cmd.Path) }

// Running reports whether it has not ended.
func (d *Daemon) Running() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// logTail is how much of a daemon's log an error carries, in bytes.
const logTail = 2000

// Await waits until the daemon is ready. Its error has the end of its log.
func (d *Daemon) Await(ctx context.Context, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("%s ended: %w: %s", d.name(), d.exit, d.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w: %s", d.name(), context.Cause(ctx), err, d.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *Daemon) tail() []byte {
	text, _ := os.ReadFile(d.Log) // an error is about to be told
	return text[max(0, len(text)-logTail):]
}

// Stop ends the daemon, if it has not ended, and waits for that.
func (d *Daemon) Stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-d.ended
}
