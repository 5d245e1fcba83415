package balloon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// orphaned is sent to a process whose first process has ended. It then ends
// after a while, and not at once: memory.oom.group, which has killed the first
// one, has to find it alive.
const (
	orphaned    = syscall.SIGHUP
	orphanGrace = 500 * time.Millisecond
)

// Beside starts this program again for each plan, as further processes of the
// same container with balloons of their own, and returns when each of them
// holds. They end soon after the thread that calls it. When the kernel kills
// one, the others go on, and an event says so.
func Beside(plans []string, events *Events) error {
	for _, text := range plans {
		if err := beside(text, events); err != nil {
			return fmt.Errorf("the process beside that is to %s: %w", text, err)
		}
	}
	return nil
}

func beside(text string, events *Events) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	process, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], "-plan=" + text + ", hold"}, &os.ProcAttr{
		Files: []*os.File{null, write, os.Stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: orphaned},
	})
	if err := errors.Join(err, write.Close()); err != nil {
		return errors.Join(err, read.Close())
	}
	if err := awaitHolding(bufio.NewReaderSize(read, 1024)); err != nil {
		return errors.Join(err, read.Close())
	}
	go func() {
		if state, err := process.Wait(); err == nil {
			events.ChildExited(state)
		}
		read.Close() // not before: its writing to a closed pipe would end it
	}()
	return nil
}

// awaitHolding reads a stressor's events until it holds for good.
func awaitHolding(events *bufio.Reader) error {
	for {
		line, err := events.ReadSlice('\n')
		switch {
		case err != nil:
			return fmt.Errorf("it ended before it held: %w", err)
		case bytes.Contains(line, []byte(`"event":"holding"`)) && !bytes.Contains(line, []byte(`"forSeconds"`)):
			return nil
		case bytes.Contains(line, []byte(`"event":"error"`)):
			return fmt.Errorf("it failed: %s", bytes.TrimSpace(line))
		}
	}
}
