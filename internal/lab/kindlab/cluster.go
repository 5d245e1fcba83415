// Package kindlab runs scenarios on kind clusters: real kubelets, real
// containerd, and workers of exactly the size that a scenario asks for. It
// needs a container engine on this machine, and root.
package kindlab

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/semver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/exec"
	kindlog "sigs.k8s.io/kind/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab"
	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/engine"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/patience"
)

// NamePrefix begins the name of every cluster that oomlab makes.
const NamePrefix = "oomlab-"

// Cluster is a running kind cluster.
type Cluster struct {
	Name string
	// Kubeconfig is the path of a kubeconfig for it.
	Kubeconfig string
	Client     kubernetes.Interface
	REST       *rest.Config

	engine   *engine.Engine
	provider *cluster.Provider
	dir      string
	workers  []string
	facts    host.Facts

	packing  sync.Mutex // workers are prepared at the same time
	stressor kubelet.StressorImage
	inUse    func() // held by who made it: see lockCluster
}

// Options say which cluster to make.
type Options struct {
	// Name is the cluster's; NewName gives one that nobody has.
	Name  string
	Image string // the node image
	// WorkerImages are the images of the workers, one worker each. Empty: as
	// many workers as Config has, with Image.
	WorkerImages []string
	// Config is the kind configuration; nil is oomlab's own kind-config.yaml.
	Config []byte
	Host   host.Facts
	// Out is told of every step. Nil is silent.
	Out io.Writer
}

// NewName returns a name that no other run has.
func NewName() string {
	var b [3]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails
	}
	return NamePrefix + hex.EncodeToString(b[:])
}

// createTimeout bounds the making of a cluster, without its image. It takes 30 s
// on two idle cores.
const createTimeout = 5 * time.Minute

// Create makes a cluster from kind-config.yaml. When it fails, or ctx ends, what
// there is of the cluster is removed.
func Create(ctx context.Context, e *engine.Engine, o Options) (_ *Cluster, err error) {
	if err := patience.Check(); err != nil {
		return nil, err
	}
	dir, err := cache.Dir("clusters", o.Name)
	if err != nil {
		return nil, err
	}
	if o.Config == nil {
		o.Config = oomlab.KindConfig
	}
	inUse, err := lockCluster(o.Name)
	if err != nil {
		return nil, err
	}
	config, err := clusterConfig(o, dir, hostNeeds{
		cgroupVersion: o.Host.CgroupVersion, restrictAdj: o.Host.LowestAdj > -1000,
	})
	if err != nil {
		return nil, err
	}
	for _, worker := range workerNames(o.Name, config.Nodes) {
		if err := kubelet.WriteMeminfo(filepath.Join(dir, worker), o.Host.MemTotal, 0); err != nil {
			return nil, err
		}
	}
	c, err := newCluster(e, o, dir)
	if err != nil {
		return nil, err
	}
	c.inUse = inUse
	leave, err := enter(dir)
	if err != nil {
		return nil, err
	}
	defer leave()
	created := make(chan error, 1)
	go func() {
		created <- c.provider.Create(o.Name, cluster.CreateWithV1Alpha4Config(config), cluster.CreateWithKubeconfigPath(c.Kubeconfig),
			cluster.CreateWithRetain(true), cluster.CreateWithDisplayUsage(false), cluster.CreateWithDisplaySalutation(false))
	}()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.abandon(created))
		}
	}()
	wait, cancel := context.WithTimeout(ctx, patience.With(createTimeout))
	defer cancel()
	select {
	case err := <-created:
		created <- nil
		if err != nil {
			return nil, fmt.Errorf("create kind cluster %s: %w%s", o.Name, err, saidLast(err))
		}
	case <-wait.Done():
		return nil, fmt.Errorf("create kind cluster %s: %w", o.Name, context.Cause(wait))
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c, c.waitReady(wait)
}

// saidLast returns the end of what kind's command printed before it failed:
// kubeadm tells there which component did not come up.
func saidLast(err error) string {
	const most = 3000 // bytes, some twenty lines
	failed := exec.RunErrorForError(err)
	if failed == nil {
		return ""
	}
	said := failed.Output[max(0, len(failed.Output)-most):]
	return "\n" + strings.TrimSpace(string(said))
}

// enter makes dir the working directory, until leave is called. podman's monitor
// of a container stays where podman was started, and drops an empty file "oom"
// there when the container's memory runs out (conmon, write_oom_files): that is
// to go with the cluster.
func enter(dir string) (leave func(), err error) {
	before, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return nil, err
	}
	return func() { _ = os.Chdir(before) }, nil
}

// lockCluster says that this process uses a cluster, as long as it lives and
// refers to unlock.
func lockCluster(name string) (unlock func(), err error) {
	dir, err := cache.Dir("clusters", name)
	if err != nil {
		return nil, err
	}
	return cache.TryLock(filepath.Join(dir, "in-use"))
}

// abandon removes what there is of a cluster while kind may still be at it: its
// commands fail once the nodes are gone.
func (c *Cluster) abandon(created <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience.With(createTimeout))
	defer cancel()
	for {
		err := c.Delete(ctx)
		select {
		case <-created: //nolint:errcheck // it fails because its nodes are being removed
			return errors.Join(err, c.Delete(ctx))
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// Open returns a cluster that runs.
func Open(e *engine.Engine, o Options) (*Cluster, error) {
	dir, err := cache.Dir("clusters", o.Name)
	if err != nil {
		return nil, err
	}
	c, err := newCluster(e, o, dir)
	if err != nil {
		return nil, err
	}
	return c, c.connect()
}

func newCluster(e *engine.Engine, o Options, dir string) (*Cluster, error) {
	// kind's library calls the engine's program itself.
	for _, setting := range e.Env() {
		name, value, _ := strings.Cut(setting, "=")
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	option := cluster.ProviderWithDocker()
	if e.Name == "podman" {
		option = cluster.ProviderWithPodman()
	}
	workers, err := readWorkers(dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Name: o.Name, Kubeconfig: filepath.Join(dir, "kubeconfig"), engine: e, dir: dir, workers: workers, facts: o.Host}
	c.provider = cluster.NewProvider(option, cluster.ProviderWithLogger(kindLogger{o.Out}))
	return c, nil
}

func (c *Cluster) connect() (err error) {
	if c.REST, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		return fmt.Errorf("read kubeconfig of cluster %s: %w", c.Name, err)
	}
	c.REST.QPS, c.REST.Burst = 50, 100
	if c.Client, err = kubernetes.NewForConfig(c.REST); err != nil {
		return fmt.Errorf("connect to cluster %s: %w", c.Name, err)
	}
	return nil
}

// waitReady waits until every node is Ready and pods can be made.
func (c *Cluster) waitReady(ctx context.Context) error {
	err := kubelet.Poll(ctx, 250*time.Millisecond, func(ctx context.Context) (string, error) {
		list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		for _, n := range list.Items {
			if !condition(&n, corev1.NodeReady) {
				return "node " + n.Name + " is not Ready", nil
			}
		}
		return "", nil
	})
	if err != nil {
		return fmt.Errorf("wait for the nodes of cluster %s: %w", c.Name, err)
	}
	if err := c.checkSkew(ctx); err != nil {
		return err
	}
	for _, worker := range c.Workers() {
		if err := c.makeNamespace(ctx, worker); err != nil {
			return err
		}
	}
	return nil
}

// checkSkew refuses a kubelet that is newer than the API server: it may run,
// and nobody says that it does so rightly.
func (c *Cluster) checkSkew(ctx context.Context) error {
	server, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("ask for the version of the API server: %w", err)
	}
	list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range list.Items {
		kubelet := n.Status.NodeInfo.KubeletVersion
		if semver.Compare(semver.MajorMinor(kubelet), semver.MajorMinor(server.GitVersion)) > 0 {
			return fmt.Errorf("node %s has kubelet %s, newer than the API server, %s: no version skew policy allows that: the newest node image is that of the control plane",
				n.Name, kubelet, server.GitVersion)
		}
	}
	return nil
}

// makeNamespace makes the namespace of a worker's pods, which is called as the
// worker is.
func (c *Cluster) makeNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	err := kubelet.Poll(ctx, 100*time.Millisecond, func(ctx context.Context) (string, error) {
		_, err := c.Client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return "", err
	})
	if err != nil {
		return fmt.Errorf("wait for the default service account of namespace %s: %w", name, err)
	}
	return nil
}

// Workers returns the names of the nodes that scenarios run on, in the order of
// the configuration.
func (c *Cluster) Workers() []string {
	return slices.Clone(c.workers)
}

// readWorkers finds the workers of a cluster by what is kept of them in dir.
func readWorkers(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("find the cluster's workers: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { // worker, worker2 … worker10
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	if len(names) == 0 {
		return nil, fmt.Errorf("find the cluster's workers: %s has none: is there such a cluster?", dir)
	}
	return names, nil
}

// kindNode returns kind's handle of a node.
func (c *Cluster) kindNode(name string) (nodes.Node, error) {
	list, err := c.provider.ListInternalNodes(c.Name)
	if err != nil {
		return nil, fmt.Errorf("list nodes of cluster %s: %w", c.Name, err)
	}
	for _, n := range list {
		if n.String() == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("cluster %s has no node %s", c.Name, name)
}

// CollectLogs writes the nodes' logs below dir.
func (c *Cluster) CollectLogs(dir string) error {
	if err := c.provider.CollectLogs(c.Name, dir); err != nil {
		return fmt.Errorf("collect logs of cluster %s: %w", c.Name, err)
	}
	return nil
}

// Describe returns the objects of a worker's namespace, pods and events, as
// YAML documents.
func (c *Cluster) Describe(ctx context.Context, worker string) ([]byte, error) {
	pods, err := c.Client.CoreV1().Pods(worker).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", worker, err)
	}
	events, err := c.Client.CoreV1().Events(worker).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list events of %s: %w", worker, err)
	}
	var all bytes.Buffer
	for _, list := range []any{pods, events} {
		text, err := yaml.Marshal(list)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", worker, err)
		}
		all.WriteString("---\n")
		all.Write(text)
	}
	return all.Bytes(), nil
}

// Delete removes the cluster and what is kept of it on this machine.
func (c *Cluster) Delete(ctx context.Context) error { return Delete(ctx, c.engine, c.Name) }

// clusterLabel is on every node that kind makes.
const clusterLabel = "io.x-k8s.kind.cluster"

// Delete removes the nodes of the named cluster by the engine alone, so that it
// works on the ruins of one, too.
func Delete(ctx context.Context, e *engine.Engine, name string) error {
	containers, err := e.Containers(ctx, clusterLabel+"="+name)
	if err != nil {
		return err
	}
	var ids []string
	for _, c := range containers {
		ids = append(ids, c.ID)
	}
	if err := removeAll(ctx, e, ids); err != nil {
		return err
	}
	dir, err := cache.Dir("clusters", name)
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// removeAll removes containers. On a busy machine their processes may take longer
// to die than the engine waits: then it is asked again.
func removeAll(ctx context.Context, e *engine.Engine, ids []string) error {
	const tries = 5
	for try := 1; ; try++ {
		err := e.Remove(ctx, ids...)
		if err == nil || try == tries || ctx.Err() != nil {
			return err
		}
	}
}

func condition(n *corev1.Node, kind corev1.NodeConditionType) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// kindLogger tells kind's steps, and nothing more.
type kindLogger struct{ out io.Writer }

func (l kindLogger) print(text string) {
	// kind ends a step with a second line of the same text, for terminals.
	if text = strings.TrimSpace(text); l.out != nil && text != "" && strings.HasPrefix(text, "✓") {
		_, _ = fmt.Fprintf(l.out, "  kind: %s\n", strings.TrimSpace(strings.TrimPrefix(text, "✓")))
	}
}

func (l kindLogger) Warn(message string)               {}
func (l kindLogger) Warnf(format string, args ...any)  {}
func (l kindLogger) Error(message string)              { l.print("✓ error: " + message) }
func (l kindLogger) Errorf(format string, args ...any) { l.Error(fmt.Sprintf(format, args...)) }
func (l kindLogger) V(level kindlog.Level) kindlog.InfoLogger {
	return infoLogger{l, level == 0}
}

type infoLogger struct {
	kindLogger
	enabled bool
}

func (l infoLogger) Info(message string) {
	if l.enabled {
		l.print(message)
	}
}
func (l infoLogger) Infof(format string, args ...any) { l.Info(fmt.Sprintf(format, args...)) }
func (l infoLogger) Enabled() bool                    { return l.enabled }
