package kubeletlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

const (
	// podStartTimeout bounds the start of the pods and the time their balloons take.
	podStartTimeout = time.Minute
	// recoverTimeout bounds the end of the pressing pods and the start of a fresh one.
	recoverTimeout = time.Minute
	// look is how often the kubelet is asked, which looks at its containers
	// every second itself.
	look = 500 * time.Millisecond
)

// Start makes the pods and waits until each balloon holds.
func (n *node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience.With(podStartTimeout))
	defer cancel()
	for _, w := range n.scenario.Workloads {
		if err := n.Create(ctx, w); err != nil {
			return err
		}
	}
	for _, w := range n.scenario.Workloads {
		if slices.Contains(n.scenario.Expect.NeverStarts, w.Name) {
			continue
		}
		for _, name := range w.PodNames() {
			if err := n.waitSettled(ctx, w, name); err != nil {
				return fmt.Errorf("wait for pod %s: %w", name, err)
			}
		}
	}
	return nil
}

func (n *node) manifest(pod string) string { return filepath.Join(n.manifests, pod+".yaml") }

// Create makes a workload's pods and does not wait for them.
func (n *node) Create(_ context.Context, w scenarios.Workload) error {
	for _, name := range w.PodNames() {
		pod := kubelet.PodSpec(w, name, nodeName, n.lab.Image)
		pod.Spec.HostNetwork = true // nobody talks to it, and a network takes long to make
		text, err := kubelet.Manifest(pod)
		if err != nil {
			return err
		}
		// The kubelet must not read half of it, and reads nothing with a dot.
		partial := filepath.Join(n.manifests, "."+name)
		if err := errors.Join(os.WriteFile(partial, text, 0o644), os.Rename(partial, n.manifest(name))); err != nil {
			return fmt.Errorf("make pod %s: %w", name, err)
		}
	}
	return nil
}

// Pods returns the pods as the kubelet tells.
func (n *node) Pods(ctx context.Context) ([]record.Pod, error) {
	pods, err := n.kubelet.pods(ctx)
	if err != nil {
		return nil, err
	}
	var records []record.Pod
	for i := range pods {
		n.owners.Note(&pods[i])
		records = append(records, kubelet.PodRecord(&pods[i]))
	}
	return records, nil
}

// pod returns the pod of that name; nil if the kubelet has none.
func (n *node) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	pods, err := n.kubelet.pods(ctx)
	if err != nil {
		return nil, err
	}
	for i := range pods {
		n.owners.Note(&pods[i])
		if own, _ := kubelet.OnNode(&pods[i]); own == name {
			return &pods[i], nil
		}
	}
	return nil, nil
}

// waitSettled waits until each container of a pod holds its balloon or is ready
// to press.
func (n *node) waitSettled(ctx context.Context, w scenarios.Workload, name string) error {
	for _, c := range w.Settled() {
		err := kubelet.Poll(ctx, look, func(ctx context.Context) (string, error) {
			pod, err := n.pod(ctx, name)
			if err != nil {
				return "", err
			}
			if pod == nil {
				return "the kubelet does not know it yet", nil
			}
			return kubelet.Unsettled(pod, c, func() ([]byte, error) {
				return n.kubelet.get(ctx, fmt.Sprintf("/containerLogs/%s/%s/%s", pod.Namespace, pod.Name, c.Name))
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// watchOwners tells owners of the pods until the node is closed. That the
// kubelet does not answer for a moment changes nothing of what is known.
func (n *node) watchOwners(ctx context.Context) {
	ctx, n.stopOwners = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		for ctx.Err() == nil {
			_, _ = n.Pods(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(look):
			}
		}
	}()
}

// Daemons looks at the kubelet. It tells nobody of the node's conditions.
func (n *node) Daemons(ctx context.Context) (record.Daemons, error) {
	d := record.Daemons{
		KubeletPID: n.kubelet.PID, KubeletStarted: n.kubelet.started.UTC().Format(time.RFC3339Nano), FreshPod: n.fresh,
	}
	if !n.kubelet.Running() {
		return d, nil
	}
	_, err := n.kubelet.get(ctx, "/healthz")
	d.Ready = err == nil
	return d, nil
}

// RestartKubelet restarts the kubelet.
func (n *node) RestartKubelet(context.Context) error {
	n.kubelet.Stop()
	return n.runKubelet()
}

// Recover ends the pressing pods, and starts a fresh one.
func (n *node) Recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience.With(recoverTimeout))
	defer cancel()
	var pressing []string
	for _, w := range n.scenario.Workloads {
		if slices.ContainsFunc(w.EachContainer(), scenarios.Container.Presses) {
			pressing = append(pressing, w.PodNames()...)
		}
	}
	for _, name := range pressing {
		if err := os.Remove(n.manifest(name)); err != nil {
			return fmt.Errorf("end pod %s: %w", name, err)
		}
	}
	for _, name := range pressing {
		err := kubelet.Poll(ctx, look, func(ctx context.Context) (string, error) {
			pod, err := n.pod(ctx, name)
			if err == nil && pod != nil {
				return "it is still there", nil
			}
			return "", err
		})
		if err != nil {
			return fmt.Errorf("end pod %s: %w", name, err)
		}
	}
	fresh := scenarios.Workload{Name: "fresh"}
	if err := n.Create(ctx, fresh); err != nil {
		return err
	}
	started := n.waitSettled(ctx, fresh, fresh.Name) == nil
	n.fresh = &started
	return nil // the claim says that none started
}

// Events returns nothing: without an API server the kubelet tells nobody.
func (n *node) Events(context.Context, time.Time) ([]record.KubernetesEvent, error) { return nil, nil }

// Jobs returns nothing: nobody carries one out.
func (n *node) Jobs(context.Context) ([]record.Job, error) { return nil, nil }

// Resize is refused before the scenario begins.
func (n *node) Resize(context.Context, scenarios.Resize) error {
	return errors.New("a static pod can't be resized")
}
