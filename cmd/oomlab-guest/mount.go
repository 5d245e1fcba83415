package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
)

const cgroupDir = "/sys/fs/cgroup"

// mountBase mounts what every program expects.
func mountBase() error {
	return mountAll([]mount{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"devtmpfs", "/dev", "devtmpfs", ""},
		{"tmpfs", "/dev/shm", "tmpfs", ""},
	})
}

// mountCgroups mounts the memory controller's hierarchy, version 1 or 2.
func mountCgroups(version int) error {
	if version == 1 {
		if err := mountAll([]mount{{"cgroup", cgroupDir, "cgroup", "memory"}}); err != nil {
			return fmt.Errorf("%w: this kernel may have been built without cgroup v1 for memory (CONFIG_MEMCG_V1), as many from 6.11 on: use version 2", err)
		}
		// As systemd does: before 5.11 a limit didn't hold for the cgroups below.
		err := os.WriteFile(filepath.Join(cgroupDir, "memory.use_hierarchy"), []byte("1"), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("let limits hold for whole subtrees: %w", err)
		}
		return nil
	}
	if err := mountAll([]mount{{"cgroup2", cgroupDir, "cgroup2", ""}}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(cgroupDir, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
		return fmt.Errorf("enable the memory controller: %w", err)
	}
	return nil
}

type mount struct{ source, target, fstype, data string }

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
		err := unix.Mount(m.source, m.target, m.fstype, unix.MS_NOSUID, m.data)
		if err != nil && err != unix.EBUSY { // busy: the kernel has mounted it itself
			return fmt.Errorf("mount %s at %s: %w", m.fstype, m.target, err)
		}
	}
	return nil
}

// mountSystem mounts what programs on a whole system expect, and the second
// version of cgroups alone.
func mountSystem() error {
	return mountAll([]mount{
		{"cgroup2", cgroupDir, "cgroup2", "nsdelegate"},
		{"tmpfs", "/run", "tmpfs", "mode=0755"},
		{"tmpfs", "/tmp", "tmpfs", ""},
		{"devpts", "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"},
		{"mqueue", "/dev/mqueue", "mqueue", ""},
	})
}

// delegateAll hands every controller down. Only a cgroup without processes can:
// they move into a leaf.
func delegateAll() error {
	leaf := filepath.Join(cgroupDir, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return fmt.Errorf("make a cgroup for init: %w", err)
	}
	procs, err := os.ReadFile(filepath.Join(cgroupDir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(procs)) {
		// Kernel threads stay where they are.
		_ = os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0)
	}
	return evidence.EnableControllers(cgroupDir)
}
