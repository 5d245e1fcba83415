package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// cgroup is a memory cgroup of version 1 or 2.
type cgroup struct {
	dir string
	v2  bool
}

func newCgroup(limit mem.Bytes) (cgroup, error) {
	root, limitFile, v2 := "/sys/fs/cgroup/memory", "memory.limit_in_bytes", false
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, limitFile, v2 = "/sys/fs/cgroup", "memory.max", true
	}
	dir, err := os.MkdirTemp(root, "oomlab-bench-")
	if err != nil {
		return cgroup{}, fmt.Errorf("make a memory cgroup: %w: run as root", err)
	}
	err = os.WriteFile(filepath.Join(dir, limitFile), []byte(strconv.FormatInt(int64(limit), 10)), 0o644)
	return cgroup{dir, v2}, err
}

func (g cgroup) usageFile() string {
	if g.v2 {
		return filepath.Join(g.dir, "memory.current")
	}
	return filepath.Join(g.dir, "memory.usage_in_bytes")
}

// start runs argv in g and in a process group of its own.
func (g cgroup) start(ctx context.Context, argv []string) (*exec.Cmd, error) {
	script := `echo $$ > "$0/cgroup.procs" && exec "$@"`
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", script, g.dir}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

func (g cgroup) kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	_ = cmd.Wait()                                      // killed
}

// remove waits until the last process is gone.
func (g cgroup) remove() {
	for range 500 {
		if err := os.Remove(g.dir); !errors.Is(err, syscall.EBUSY) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "bench: could not remove", g.dir)
}
