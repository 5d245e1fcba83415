package kubeletlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/proc"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	// daemonTimeout bounds the start of a daemon, which takes a second where
	// instructions are not translated.
	daemonTimeout = 15 * time.Second
	// containerdAdj is what kind's unit gives to containerd.
	containerdAdj = -999
)

// amongDaemons makes cmd a process of the node's daemons. What it returns is to
// be called when cmd has been started.
func (n *node) amongDaemons(cmd *exec.Cmd) (release func() error, err error) {
	cgroup, err := os.Open(n.hierarchy.Dir(daemonsCgroup))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(cgroup.Fd())
	return cgroup.Close, nil
}

// startContainerd starts containerd in a mount namespace of its own, where
// /proc/meminfo tells of the node instead of the machine, and waits until it
// listens.
func (n *node) startContainerd(ctx context.Context) error {
	config := filepath.Join(workDir, "containerd.toml")
	given, err := os.ReadFile("/etc/containerd/config.toml")
	if err != nil {
		return fmt.Errorf("configure containerd: %w", err)
	}
	if err := os.WriteFile(config, containerdConfig(given), 0o644); err != nil {
		return fmt.Errorf("configure containerd: %w", err)
	}
	cmd := exec.Command("containerd", "--config", config) //nolint:noctx // Close ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	release, err := n.amongDaemons(cmd)
	if err != nil {
		return err
	}
	n.containerd, err = proc.StartDaemon(cmd, filepath.Join(workDir, "containerd.log"))
	if err := errors.Join(err, release()); err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", n.containerd.PID), fmt.Append(nil, containerdAdj), 0); err != nil {
		return fmt.Errorf("give containerd its score: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience.With(daemonTimeout))
	defer cancel()
	return n.containerd.Await(ctx, func() error { _, err := os.Stat(containerdSocket); return err })
}

// containerdConfig changes kind's configuration for a machine without systemd,
// and leaves out a hook that gives each container a product UUID of its own.
func containerdConfig(kind []byte) []byte {
	var kept []string
	for line := range strings.Lines(string(kind)) {
		if strings.Contains(line, "base_runtime_spec") {
			continue
		}
		kept = append(kept, strings.Replace(line, "SystemdCgroup = true", "SystemdCgroup = false", 1))
	}
	return []byte(strings.Join(kept, ""))
}

// importImage puts the stressor's image into containerd.
func (n *node) importImage(ctx context.Context) error {
	cmd := proc.Command(ctx, "ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", "--local", n.lab.Archive)
	release, err := n.amongDaemons(cmd)
	if err != nil {
		return err
	}
	if err := errors.Join(proc.Run(cmd), release()); err != nil {
		return fmt.Errorf("import the stressor's image: %w", err)
	}
	return nil
}
