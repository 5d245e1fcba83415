package kindlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/scenarios"
)

// A kind node's kubelet takes the host's /proc/meminfo for its own, so that its
// capacity has nothing to do with what its container may use. A worker of
// honest size has a /proc/meminfo of its own, bind-mounted when the cluster is
// made, and its container is limited to the same size.

const kubeletConfigPath = "/var/lib/kubelet/config.yaml"

// configure makes the worker what the scenario asks for: its size, and its
// kubelet's settings. It returns when the node says so itself. A kubelet that
// already runs with these settings is not restarted, which saves some 10 s.
func (c *Cluster) configure(ctx context.Context, worker string, n scenarios.Node) error {
	node, err := c.kindNode(worker)
	if err != nil {
		return err
	}
	if err := c.engine.UpdateMemory(ctx, worker, n.Memory.Bytes, n.Swap.Bytes); err != nil {
		return fmt.Errorf("limit node %s to %s: %w", worker, n.Memory, err)
	}
	old, err := c.engine.Exec(ctx, worker, "cat", kubeletConfigPath)
	if err != nil {
		return fmt.Errorf("read the kubelet's configuration on %s: %w", worker, err)
	}
	config, err := kubelet.Configure([]byte(old), n)
	if err != nil {
		return err
	}
	settled := settledConfig{path: filepath.Join(c.dir, worker, "configured"), text: fmt.Sprintf("%s\n%s\n%s", n.Memory, n.Swap, config)}
	if !settled.is() {
		if err := settled.clear(); err != nil {
			return err
		}
		if err := kubelet.WriteMeminfo(filepath.Join(c.dir, worker), n.Memory.Bytes, n.Swap.Bytes); err != nil {
			return err
		}
		if err := nodeutils.WriteFile(node, kubeletConfigPath, string(config)); err != nil {
			return fmt.Errorf("write the kubelet's configuration on %s: %w", worker, err)
		}
		if err := c.restartKubelet(ctx, node); err != nil {
			return err
		}
	}
	if err := c.waitConfigured(ctx, worker, n); err != nil {
		return err
	}
	return settled.save()
}

// settledConfig is what a worker was last seen to run with. It is kept in a
// file, since the suite's processes and an interrupted run know nothing of each
// other.
type settledConfig struct{ path, text string }

func (s settledConfig) is() bool {
	text, err := os.ReadFile(s.path)
	return err == nil && string(text) == s.text
}

func (s settledConfig) clear() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget what a node runs with: %w", err)
	}
	return nil
}

func (s settledConfig) save() error {
	if err := os.WriteFile(s.path, []byte(s.text), 0o644); err != nil {
		return fmt.Errorf("note what a node runs with: %w", err)
	}
	return nil
}

func (c *Cluster) restartKubelet(ctx context.Context, node nodes.Node) error {
	if _, err := c.engine.Exec(ctx, node.String(), "systemctl", "restart", "kubelet"); err != nil {
		return fmt.Errorf("restart the kubelet on %s: %w", node, err)
	}
	return nil
}

// configureTimeout bounds a kubelet's restart.
const configureTimeout = 90 * time.Second

// waitConfigured waits until the restarted kubelet reports the new size and
// runs with the thresholds that it was given.
func (c *Cluster) waitConfigured(ctx context.Context, worker string, n scenarios.Node) error {
	ctx, cancel := context.WithTimeout(ctx, patience.With(configureTimeout))
	defer cancel()
	err := kubelet.Poll(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		node, err := c.Client.CoreV1().Nodes().Get(ctx, worker, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		capacity := mem.Bytes(node.Status.Capacity.Memory().Value())
		switch {
		case capacity != n.Memory.Bytes:
			return fmt.Sprintf("the kubelet reports a capacity of %s, not %s", capacity, n.Memory), nil
		case !condition(node, corev1.NodeReady):
			return "the node is not Ready", nil
		case condition(node, corev1.NodeMemoryPressure):
			return "the node is under MemoryPressure", nil
		}
		return c.wrongThresholds(ctx, worker, n)
	})
	if err != nil {
		return fmt.Errorf("wait for node %s of %s: %w", worker, n.Memory, err)
	}
	return nil
}

// wrongThresholds says which threshold the running kubelet does not have.
func (c *Cluster) wrongThresholds(ctx context.Context, worker string, n scenarios.Node) (string, error) {
	raw, err := c.configz(ctx, worker)
	if err != nil {
		return "", err
	}
	var configz struct {
		KubeletConfig struct {
			EvictionHard   map[string]string `json:"evictionHard"`
			SystemReserved map[string]string `json:"systemReserved"`
		} `json:"kubeletconfig"`
	}
	if err := yaml.Unmarshal(raw, &configz); err != nil {
		return "", fmt.Errorf("read /configz: %w", err)
	}
	got := configz.KubeletConfig
	const signal = "memory.available"
	switch {
	case got.EvictionHard[signal] != n.Kubelet.EvictionHard[signal]:
		return fmt.Sprintf("the kubelet runs with evictionHard %s %q, not %q", signal, got.EvictionHard[signal], n.Kubelet.EvictionHard[signal]), nil
	case got.SystemReserved["memory"] != n.Reservation().String():
		return fmt.Sprintf("the kubelet runs with systemReserved %q, not %s", got.SystemReserved["memory"], n.Reservation()), nil
	}
	return "", nil
}

// kubeletState is the kubelet's process as systemd knows it.
type kubeletState struct {
	pid, restarts int
	started       string
}

func (c *Cluster) kubeletState(ctx context.Context, worker string) (kubeletState, error) {
	out, err := c.engine.Exec(ctx, worker, "systemctl", "show", "kubelet", "--property=MainPID,NRestarts,ExecMainStartTimestampMonotonic")
	if err != nil {
		return kubeletState{}, fmt.Errorf("ask systemd for the kubelet on %s: %w", worker, err)
	}
	return parseKubeletState(out)
}

func parseKubeletState(out string) (s kubeletState, err error) {
	var errs []error
	seen := 0
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		var err error
		switch name {
		case "MainPID":
			s.pid, err = strconv.Atoi(value)
			seen++
		case "NRestarts":
			s.restarts, err = strconv.Atoi(value)
			seen++
		case "ExecMainStartTimestampMonotonic":
			s.started = value
			seen++
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || seen != 3 {
		return s, fmt.Errorf("read %q of systemd: %w", out, errors.Join(err, errors.New("want MainPID, NRestarts and ExecMainStartTimestampMonotonic")))
	}
	return s, nil
}
