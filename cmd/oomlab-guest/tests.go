package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/record"
)

// scratch is a file system that keeps its files in the page cache and that no
// disk is behind.
const scratch = "/var/tmp"

// hugePages is how many huge pages are reserved: the machine is the tests'.
const hugePages = "16"

// runTests runs a test program that lies in the initramfs, with the stressor next
// to it, and sends its output line by line.
func runTests(ctx context.Context, args []string, port *port) error {
	if err := mountAll([]mount{{"tmpfs", "/dev/shm", "tmpfs", ""}, {"ramfs", scratch, "ramfs", ""}}); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/vm/nr_hugepages", []byte(hugePages), 0); err != nil {
		return fmt.Errorf("reserve huge pages: %w", err)
	}
	read, write := io.Pipe()
	cmd := exec.CommandContext(ctx, wire.Tests, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = scratch, write, write
	cmd.Env = []string{"TMPDIR=" + scratch, lab.StressorEnv + "=/oomlab-stressor"}
	told := make(chan error, 1)
	started := time.Now()
	go func() {
		var err error
		for lines := bufio.NewScanner(read); lines.Scan(); {
			e := record.Event{AtSeconds: time.Since(started).Seconds(), Step: "test", Text: lines.Text()}
			err = errors.Join(err, port.send(wire.Message{Event: &e}))
		}
		_, _ = io.Copy(io.Discard, read) // a line that is too long
		told <- err
	}()
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("run %s: %w", wire.Tests, err)
	}
	return errors.Join(err, write.Close(), <-told)
}
