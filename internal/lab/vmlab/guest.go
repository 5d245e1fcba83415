package vmlab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/proc"
)

// ErrMachine is wrapped where a machine ended, or had to be ended, before it
// said that it was done.
var ErrMachine = errors.New("the virtual machine did not finish")

// outcome is what came out of a machine.
type outcome struct {
	last wire.Message
	log  string // the kernel's: all of it, or what its console shows
}

// boot runs a machine with these files in its initramfs to its end, or until
// ctx ends. It calls observe with every message but the last. Nothing of it is
// on any disk before it has ended, and then its log alone; and the kernel ends
// QEMU with this process: nothing can be left.
func (m machine) boot(ctx context.Context, files []file, observe func(wire.Message)) (o outcome, err error) {
	var inMemory [3]*os.File
	for i, name := range []string{"initramfs", "console", "messages"} {
		if inMemory[i], err = memoryFile(name); err != nil {
			return o, err
		}
		defer inMemory[i].Close() // there is nothing on a disk to lose
	}
	initramfs, console, messages := inMemory[0], inMemory[1], inMemory[2]
	if err := writeInitramfs(initramfs, files); err != nil {
		return o, err
	}
	// A child's first extra file is its descriptor 3.
	m.initramfs, m.console, m.messages = "/proc/self/fd/3", "/proc/self/fd/4", "/proc/self/fd/5"
	clocks, err := slowClock(m.slowdown)
	if err != nil {
		return o, err
	}
	var stderr bytes.Buffer
	running, end := context.WithCancel(ctx)
	defer end()
	cmd := proc.Command(running, Program, m.args()...)
	cmd.Env = append(os.Environ(), clocks...)
	cmd.ExtraFiles, cmd.Stderr = inMemory[:], &stderr
	// It has nothing to clean up, and a guest may keep it from listening.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	if err := cmd.Start(); err != nil {
		return o, fmt.Errorf("start %s: %w", Program, err)
	}
	var exit error
	ended := make(chan struct{})
	go func() { exit = cmd.Wait(); close(ended) }()
	o.last, err = readMessages(messages, ended, observe)
	end()
	<-ended
	if err == nil && !o.last.Done {
		if err = exit; err == nil {
			err = errors.New("it restarted or was powered off")
		}
	}
	if o.log = o.last.Log; err != nil || o.log == "" {
		if shown, err := io.ReadAll(io.NewSectionReader(console, 0, maxConsole)); err == nil {
			o.log = strings.ReplaceAll(string(shown), "\r", "")
		}
	}
	if err != nil {
		err = explain(ctx, err, stderr.String(), o.log)
	}
	return o, m.keepLog(o.log, err)
}

// keepLog writes the kernel's log where it is to be kept, and says so where the
// machine did not finish.
func (m machine) keepLog(log string, err error) error {
	if m.log == "" {
		return err
	}
	failed := os.MkdirAll(filepath.Dir(m.log), 0o755)
	if failed == nil {
		failed = os.WriteFile(m.log, []byte(log), 0o644)
	}
	switch {
	case failed != nil:
		return errors.Join(err, fmt.Errorf("keep the kernel's log: %w", failed))
	case err != nil:
		return fmt.Errorf("%w\n(all that its console showed is in %s)", err, m.log)
	}
	return nil
}

// maxConsole bounds what is kept of a console that is written without end.
const maxConsole = 16 << 20

// memoryFile returns a file that has a name for messages and no place on a disk.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("oomlab-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory for the %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// readInterval is how often the messages are looked for; a file that grows
// wakes nobody.
const readInterval = 20 * time.Millisecond

// readMessages follows a file of messages until QEMU has ended, and returns the
// last one, if there is one.
func readMessages(file io.ReaderAt, ended <-chan struct{}, observe func(wire.Message)) (last wire.Message, err error) {
	var rest []byte
	var offset int64
	tick := time.NewTicker(readInterval)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-ended:
			over = true // and what came before that is read below
		case <-tick.C:
		}
		more, err := io.ReadAll(io.NewSectionReader(file, offset, math.MaxInt64-offset))
		if err != nil {
			return last, fmt.Errorf("read the guest's messages: %w", err)
		}
		offset += int64(len(more))
		rest = append(rest, more...)
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			rest = after
			var m wire.Message
			if err := json.Unmarshal(line, &m); err != nil {
				return last, fmt.Errorf("read the guest's messages: %w in %.80q", err, line)
			}
			if m.Done {
				last = m
			} else {
				observe(m)
			}
		}
	}
	return last, nil
}

// explain says why a machine had no last word: ctx's reason, QEMU's own, or the
// end of the kernel's log.
func explain(ctx context.Context, err error, stderr, console string) error {
	if reason := context.Cause(ctx); reason != nil {
		err = reason
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && strings.TrimSpace(stderr) != "" {
		return fmt.Errorf("%w: %w: %s", ErrMachine, err, strings.TrimSpace(stderr))
	}
	lines := strings.Split(strings.TrimSpace(console), "\n")
	const shown = 12
	text := strings.Join(lines[max(0, len(lines)-shown):], "\n")
	if text == "" {
		text = "(nothing: the kernel never came so far as to write to its console)"
	}
	return fmt.Errorf("%w: %w; the end of its console:\n%s", ErrMachine, err, text)
}
