package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
)

// newRoot is where the first disk is mounted before it becomes the root.
const newRoot = "/root"

// enterDisk loads the kernel modules that a disk needs and makes the first disk
// the root, as switch_root(8) does: containers can't pivot away from an
// initramfs. With takeInput the initramfs's own wire.InputDir comes along.
func enterDisk(modules []string, takeInput bool) error {
	for _, path := range modules {
		if err := loadModule(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := awaitFile(wire.RootDisk, 10*time.Second); err != nil {
		return err
	}
	if err := unix.Mount(wire.RootDisk, newRoot, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", wire.RootDisk, err)
	}
	if takeInput {
		target := newRoot + wire.InputDir
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(wire.InputDir, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("make the disk the root: %w", err)
	}
	if err := errors.Join(unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("make the disk the root: %w", err)
	}
	return nil
}

// gatherInput moves what a machine with a kubelet brings along to wire.InputDir.
func gatherInput() error {
	if err := os.MkdirAll(wire.InputDir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{wire.NodeProgram, wire.StressorImage} {
		if err := os.Rename("/"+name, filepath.Join(wire.InputDir, name)); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load a kernel module: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

// awaitFile waits for what a driver makes when it has found its device.
func awaitFile(path string, limit time.Duration) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil || time.Since(began) > limit {
			return err
		}
	}
}
