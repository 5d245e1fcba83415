package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// become makes this process an ordinary user's, alone in a cgroup that is
// delegated to that user. What it returns makes it root's again, so that it can
// end the machine.
func become(user int) (root func() error, err error) {
	dir := filepath.Join(cgroupDir, "user")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("delegate a cgroup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("1"), 0); err != nil {
		return nil, fmt.Errorf("delegate a cgroup: %w", err)
	}
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(dir, file), user, user); err != nil {
			return nil, fmt.Errorf("delegate a cgroup: %w", err)
		}
	}
	// The saved ids stay root's: the way back. Capabilities go with the others.
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(user, user, 0), syscall.Setresuid(user, user, 0)); err != nil {
		return nil, fmt.Errorf("become user %d: %w", user, err)
	}
	// Otherwise /proc/self would belong to root (proc_pid(5)).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become user %d: %w", user, err)
	}
	return func() error {
		return errors.Join(syscall.Setresuid(0, 0, 0), syscall.Setresgid(0, 0, 0))
	}, nil
}
