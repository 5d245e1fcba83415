package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
)

// scratch is a file system that keeps its files in the page cache and that no
// disk is behind.
const scratch = "/var/tmp"

// hugePages is how many huge pages are reserved: the machine is the tests'.
const hugePages = "16"

// runTests runs a test program that lies in the initramfs, with the stressor next
// to it, and sends its output line by line.
func runTests(ctx context.Context, args []string, port *wire.Port) error {
	if err := mountAll([]mount{{"tmpfs", "/dev/shm", "tmpfs", ""}, {"ramfs", scratch, "ramfs", ""}}); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/vm/nr_hugepages", []byte(hugePages), 0); err != nil {
		return fmt.Errorf("reserve huge pages: %w", err)
	}
	cmd := exec.CommandContext(ctx, wire.Tests, args...)
	cmd.Dir = scratch
	cmd.Env = []string{"TMPDIR=" + scratch, lab.StressorEnv + "=/oomlab-stressor"}
	if err := runTold(cmd, port); err != nil {
		return fmt.Errorf("run %s: %w", wire.Tests, err)
	}
	return nil
}
