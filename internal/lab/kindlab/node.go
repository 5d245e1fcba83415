package kindlab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

// Lab runs scenarios on one worker of a cluster, one after the other.
type Lab struct {
	cluster *Cluster
	worker  string
}

var (
	_ run.Lab         = (*Lab)(nil)
	_ run.KubeletNode = (*node)(nil)
)

// Lab returns the lab of a worker.
func (c *Cluster) Lab(worker string) *Lab { return &Lab{cluster: c, worker: worker} }

// Name returns "kind".
func (l *Lab) Name() string { return "kind" }

// node is a worker while one scenario runs there.
type node struct {
	cluster  *Cluster
	worker   string
	scenario *scenarios.Scenario
	image    string
	facts    record.Node
	config   qos.Node
	owners   *kubelet.Owners
	// stopOwners ends the watch that tells owners.
	stopOwners func()
	fresh      *bool // whether a fresh pod started after the pressure
	// stopExecs end what was executed in the pods.
	stopExecs []context.CancelFunc
}

// Prepare makes the worker what the scenario asks for and sees that it is empty.
func (l *Lab) Prepare(ctx context.Context, s *scenarios.Scenario) (run.Node, error) {
	if s.Node.Domain == qos.LevelGlobal {
		return nil, errors.New("the kind lab never lets the whole machine run out of memory: use --lab vm")
	}
	if s.SetsScore() {
		return nil, errors.New("the scenario sets an oomScoreAdj, which no pod can ask a kubelet for: use --lab cgroup")
	}
	n := &node{cluster: l.cluster, worker: l.worker, scenario: s}
	list, err := l.cluster.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + l.worker})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", l.worker, err)
	}
	for _, p := range list.Items {
		if p.Namespace == l.worker {
			return nil, fmt.Errorf("worker %s is not clean: pod %s of an earlier run is still there: delete it, or make a new cluster", l.worker, p.Name)
		}
	}
	if err := l.cluster.configure(ctx, l.worker, s.Node); err != nil {
		return nil, err
	}
	if n.image, err = l.cluster.loadStressor(ctx, l.worker); err != nil {
		return nil, err
	}
	if err := n.describe(ctx); err != nil {
		return nil, err
	}
	return n, n.watchOwners(ctx)
}

// describe finds out what the formulas and the evidence need to know.
func (n *node) describe(ctx context.Context) error {
	object, err := n.cluster.Client.CoreV1().Nodes().Get(ctx, n.worker, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", n.worker, err)
	}
	info := object.Status.NodeInfo
	version, err := qos.ParseVersion(info.KubeletVersion)
	if err != nil {
		return err
	}
	cgroup, err := n.cluster.engine.Cgroup(ctx, n.worker)
	if err != nil {
		return err
	}
	n.config = qos.Node{
		Version: version, Capacity: n.scenario.Node.Memory.Bytes, SwapCapacity: n.scenario.Node.Swap.Bytes, SystemReserved: n.scenario.Node.Reservation(),
		CgroupVersion: n.cluster.facts.CgroupVersion, Layout: qos.Layout{Root: "/kubelet", Prefix: cgroup},
	}
	n.scenario.Node.Kubelet.Configure(&n.config)
	configz, err := n.cluster.configz(ctx, n.worker)
	if err != nil {
		return err
	}
	settings, err := kubelet.ParseSettings(configz)
	if err != nil {
		return err
	}
	n.facts = record.Node{
		Settings: settings,
		Name:     n.worker, Capacity: n.config.Capacity, Cgroup: cgroup, Kubepods: n.config.Kubepods(),
		Versions: map[string]string{
			"kubelet": info.KubeletVersion, "containerd": strings.TrimPrefix(info.ContainerRuntimeVersion, "containerd://"),
			"engine": n.cluster.engine.Name + " " + n.cluster.engine.Version, "os": info.OSImage,
		},
	}
	return nil
}

// Facts describes the worker.
func (n *node) Facts() record.Node { return n.facts }

// Kubelet is the worker's kubelet, as configured.
func (n *node) Kubelet() qos.Node { return n.config }

// Owner says whose a memory cgroup is.
func (n *node) Owner(cgroup string) record.Owner { return n.owners.Of(cgroup) }

// Daemons looks at the kubelet, the node's condition, and the system's pods.
func (n *node) Daemons(ctx context.Context) (record.Daemons, error) {
	state, err := n.cluster.kubeletState(ctx, n.worker)
	if err != nil {
		return record.Daemons{}, err
	}
	d := record.Daemons{KubeletPID: state.pid, KubeletRestarts: state.restarts, KubeletStarted: state.started, FreshPod: n.fresh}
	object, err := n.cluster.Client.CoreV1().Nodes().Get(ctx, n.worker, metav1.GetOptions{})
	if err != nil {
		return d, fmt.Errorf("read node %s: %w", n.worker, err)
	}
	for _, c := range object.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			d.Conditions = append(d.Conditions, string(c.Type))
		}
	}
	d.Ready = condition(object, corev1.NodeReady)
	system, err := n.cluster.Client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return d, fmt.Errorf("list system pods: %w", err)
	}
	for _, p := range system.Items {
		for _, s := range p.Status.ContainerStatuses {
			d.OtherRestarts += int(s.RestartCount)
		}
	}
	return d, nil
}

// RestartKubelet restarts the worker's kubelet.
func (n *node) RestartKubelet(ctx context.Context) error {
	node, err := n.cluster.kindNode(n.worker)
	if err != nil {
		return err
	}
	return n.cluster.restartKubelet(ctx, node)
}

// recoverTimeout bounds the recovery: a pressure condition clears with the next
// housekeeping of the kubelet, 10 s, after transitionPeriod.
const recoverTimeout = time.Minute

// Recover removes the pressing pods, waits until the node is free of pressure,
// and starts a fresh pod.
func (n *node) Recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience.With(recoverTimeout))
	defer cancel()
	var pressing []string
	for _, w := range n.scenario.Workloads {
		if slices.ContainsFunc(w.EachContainer(), scenarios.Container.Presses) {
			pressing = append(pressing, w.Name)
		}
	}
	if len(pressing) > 0 {
		if err := n.removeAll(ctx, pressing...); err != nil {
			return err
		}
	}
	err := kubelet.Poll(ctx, 500*time.Millisecond, func(ctx context.Context) (string, error) {
		object, err := n.cluster.Client.CoreV1().Nodes().Get(ctx, n.worker, metav1.GetOptions{})
		switch {
		case err != nil:
			return "", err
		case condition(object, corev1.NodeMemoryPressure):
			return "the node is still under MemoryPressure", nil
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	started := false
	for ctx.Err() == nil && !started {
		if started, err = n.startFresh(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	n.fresh = &started
	return nil // Close removes it, in its own time
}

// startFresh starts a pod that has not been there yet. It returns false if the
// kubelet refuses it: the kubelet knows about memory pressure some seconds
// before the API server does.
func (n *node) startFresh(ctx context.Context) (bool, error) {
	fresh := scenarios.Workload{Name: "fresh"}
	if err := n.removePods(ctx, fresh.Name); err != nil {
		return false, err
	}
	pods := n.cluster.Client.CoreV1().Pods(n.worker)
	if _, err := pods.Create(ctx, kubelet.PodSpec(fresh, fresh.Name, n.worker, n.image), metav1.CreateOptions{}); err != nil {
		return false, fmt.Errorf("create a fresh pod: %w", err)
	}
	refused := false
	err := kubelet.Poll(ctx, 200*time.Millisecond, func(ctx context.Context) (string, error) {
		pod, err := pods.Get(ctx, fresh.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if refused = pod.Status.Phase == corev1.PodFailed; refused || pod.Status.Phase == corev1.PodRunning {
			return "", nil
		}
		return "it is " + string(pod.Status.Phase), nil
	})
	if err != nil || refused {
		return false, err
	}
	return true, n.waitHolding(ctx, fresh.Name, fresh.EachContainer()[0])
}

// Close removes every pod of the scenario.
func (n *node) Close(ctx context.Context) error {
	n.stopOwners()
	for _, stop := range n.stopExecs {
		stop()
	}
	return errors.Join(n.removeAll(ctx), n.removePods(ctx, "fresh"))
}

// watchOwners tells owners of every change of the worker's pods.
func (n *node) watchOwners(ctx context.Context) error {
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.owners, n.stopOwners = kubelet.NewOwners(n.facts.Cgroup), stop
	note := func(object any) {
		if pod, ok := object.(*corev1.Pod); ok {
			n.owners.Note(pod)
		}
	}
	factory := informers.NewSharedInformerFactoryWithOptions(n.cluster.Client, 0, informers.WithNamespace(n.worker))
	informer := factory.Core().V1().Pods().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    note,
		UpdateFunc: func(_, pod any) { note(pod) },
	}); err != nil {
		stop()
		return fmt.Errorf("watch pods of %s: %w", n.worker, err)
	}
	factory.Start(watch.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		stop()
		return fmt.Errorf("watch pods of %s: %w", n.worker, context.Cause(ctx))
	}
	return nil
}
