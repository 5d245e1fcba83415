package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/proc"
)

// addSwap gives the machine swap, in a file on its disk.
func addSwap(ctx context.Context, size mem.Bytes) error {
	const file = "/var/swap"
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("add swap: %w", err)
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, int64(size)), f.Close()); err != nil {
		return fmt.Errorf("add swap: %w", err)
	}
	if err := proc.Run(proc.Command(ctx, "mkswap", file)); err != nil {
		return err
	}
	return proc.Run(proc.Command(ctx, "swapon", file))
}
