package kindlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/scenarios"
)

// podStartTimeout bounds the start of a pod and the time its balloon takes.
const podStartTimeout = time.Minute

// Start makes the pods and waits until each balloon holds.
func (n *node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience.With(podStartTimeout))
	defer cancel()
	var now []scenarios.Workload
	for _, w := range n.scenario.Workloads {
		if w.After == "" {
			now = append(now, w)
		}
	}
	for _, w := range now {
		if err := n.Create(ctx, w); err != nil {
			return err
		}
	}
	for _, w := range now {
		if slices.Contains(n.scenario.Expect.NeverStarts, w.Name) {
			continue
		}
		names, err := n.waitPods(ctx, w)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := n.waitSettled(ctx, w, name); err != nil {
				return fmt.Errorf("wait for pod %s: %w", name, err)
			}
		}
	}
	if n.scenario.Until.Evictions > 0 {
		return n.waitMeasured(ctx)
	}
	return nil
}

// Create makes a workload's pods, or its Job, and does not wait for them.
func (n *node) Create(ctx context.Context, w scenarios.Workload) error {
	if w.Priority != 0 {
		_, err := n.cluster.Client.SchedulingV1().PriorityClasses().Create(ctx, kubelet.PriorityClass(w), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create the priority class of %s: %w", w.Name, err)
		}
	}
	if w.Job != nil {
		if _, err := n.cluster.Client.BatchV1().Jobs(n.worker).Create(ctx, kubelet.JobSpec(w, n.worker, n.image), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create job %s: %w", w.Name, err)
		}
		return nil
	}
	for _, name := range w.PodNames() {
		pod := kubelet.PodSpec(w, name, n.worker, n.image)
		if w.Static {
			if err := n.writeManifest(pod); err != nil {
				return err
			}
			continue
		}
		if _, err := n.cluster.Client.CoreV1().Pods(n.worker).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create pod %s: %w", name, err)
		}
	}
	return nil
}

// waitPods returns the names of the workload's pods. Those of a Job are known
// when its controller has made them.
func (n *node) waitPods(ctx context.Context, w scenarios.Workload) (names []string, err error) {
	if w.Job == nil {
		return w.PodNames(), nil
	}
	err = kubelet.Poll(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		list, err := n.cluster.Client.CoreV1().Pods(n.worker).List(ctx, metav1.ListOptions{LabelSelector: kubelet.WorkloadLabel + "=" + w.Name})
		if err != nil {
			return "", err
		}
		for _, p := range list.Items {
			names = append(names, p.Name)
		}
		if len(names) == 0 {
			return "job " + w.Name + " has no pod yet", nil
		}
		return "", nil
	})
	return names, err
}

// waitSettled waits until each container of a pod holds its balloon or is ready
// to press, and starts the second processes of those that have one.
func (n *node) waitSettled(ctx context.Context, w scenarios.Workload, pod string) error {
	for _, c := range w.Settled() {
		if err := n.waitHolding(ctx, pod, c); err != nil {
			return err
		}
		if c.Exec == "" {
			continue
		}
		if err := n.execStressor(ctx, pod, c); err != nil {
			return err
		}
	}
	return nil
}

// waitHolding waits until the stressor says that it holds its balloon and, if
// it presses, awaits the pressure.
func (n *node) waitHolding(ctx context.Context, pod string, c scenarios.Container) error {
	return kubelet.Poll(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		object, err := n.cluster.Client.CoreV1().Pods(n.worker).Get(ctx, n.apiName(pod), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "the API server has no such pod", nil // or no mirror of it yet
		} else if err != nil {
			return "", err
		}
		return kubelet.Unsettled(object, c, func() ([]byte, error) {
			return n.cluster.Client.CoreV1().Pods(n.worker).GetLogs(object.Name, &corev1.PodLogOptions{Container: c.Name}).DoRaw(ctx)
		})
	})
}

// execStressor starts the container's second process, as kubectl exec does, and
// waits until it is ready to press. It ends with the container, or with the
// scenario.
func (n *node) execStressor(ctx context.Context, pod string, c scenarios.Container) error {
	second := c.Executed()
	settling, err := lab.SettlingOf(second)
	if err != nil {
		return err
	}
	command := append([]string{kubelet.StressorPath}, lab.StressorArgs(second, lab.Dirs{})...)
	read, write := io.Pipe()
	ended := make(chan error, 1)
	stream, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stopExecs = append(n.stopExecs, stop)
	go func() {
		err := n.exec(stream, pod, c.Name, command, write)
		ended <- errors.Join(err, write.Close())
	}()
	ready := make(chan error, 1)
	go func() {
		said := false
		for lines := bufio.NewScanner(read); lines.Scan(); {
			if settled, err := settling.Event(lines.Bytes()); !said && (settled || err != nil) {
				said = true
				ready <- err
			}
		}
	}()
	select {
	case err := <-ready:
		return err
	case err := <-ended:
		return fmt.Errorf("exec in %s: it ended before it was ready: %w", pod, err)
	case <-ctx.Done():
		return fmt.Errorf("exec in %s: %w", pod, context.Cause(ctx))
	}
}

// exec executes a command in a container, as kubectl exec does.
func (n *node) exec(ctx context.Context, pod, container string, command []string, stdout io.Writer) error {
	var stderr strings.Builder
	request := n.cluster.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(n.worker).Name(n.apiName(pod)).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(n.cluster.REST, "GET", request.URL().String())
	if err != nil {
		return fmt.Errorf("exec in %s: %w", pod, err)
	}
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: &stderr}); err != nil {
		return fmt.Errorf("exec in %s: %w: %s", pod, err, stderr.String())
	}
	return nil
}
