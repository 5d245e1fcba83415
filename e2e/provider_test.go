//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/klient/wait"
	"sigs.k8s.io/e2e-framework/klient/wait/conditions"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/kindlab"
)

// provider makes oomlab's clusters known to e2e-framework. The framework's own
// provider for kind shells out to a kind that it installs; this one uses kind's
// library, as pinned in go.mod, and whatever engine and image this machine has.
type provider struct {
	name, version, image string
	facts                host.Facts
	out                  io.Writer
	cluster              *kindlab.Cluster
}

var _ types.E2EClusterProvider = (*provider)(nil)

func newProvider(facts host.Facts, out io.Writer) *provider {
	return &provider{facts: facts, out: out, version: os.Getenv("KUBERNETES"), image: os.Getenv("NODE_IMAGE")}
}

func (p *provider) WithName(name string) types.E2EClusterProvider { p.name = name; return p }

// WithVersion sets the version of Kubernetes.
func (p *provider) WithVersion(version string) types.E2EClusterProvider {
	p.version = version
	return p
}

// WithPath changes nothing: there is no program to find.
func (p *provider) WithPath(string) types.E2EClusterProvider { return p }

func (p *provider) WithOpts(opts ...types.ClusterOpts) types.E2EClusterProvider {
	for _, o := range opts {
		o(p)
	}
	return p
}

func (p *provider) SetDefaults() types.E2EClusterProvider {
	if p.name == "" {
		p.name = kindlab.NewName()
	}
	return p
}

func (p *provider) Create(ctx context.Context, _ ...string) (string, error) {
	return p.create(ctx, nil)
}

func (p *provider) CreateWithConfig(ctx context.Context, configFile string) (string, error) {
	config, err := os.ReadFile(configFile)
	if err != nil {
		return "", fmt.Errorf("read the cluster's configuration: %w", err)
	}
	return p.create(ctx, config)
}

func (p *provider) create(ctx context.Context, config []byte) (kubeconfig string, err error) {
	p.cluster, err = kindlab.Up(ctx, kindlab.UpOptions{
		Name: p.name, NodeImage: p.image, Kubernetes: p.version, Config: config, Host: p.facts, Out: p.out,
	})
	return p.GetKubeconfig(), err
}

func (p *provider) GetKubeconfig() string {
	if p.cluster == nil {
		return ""
	}
	return p.cluster.Kubeconfig
}

func (p *provider) GenerateKubeconfig(...string) (string, error) { return p.GetKubeconfig(), nil }

func (p *provider) GetKubectlContext() string { return "kind-" + p.name }

func (p *provider) ExportLogs(_ context.Context, dest string) error {
	return p.cluster.CollectLogs(dest)
}

// Destroy removes the cluster. One that could not be made has removed itself.
func (p *provider) Destroy(ctx context.Context) error {
	if p.cluster == nil {
		return nil
	}
	return p.cluster.Delete(ctx)
}

func (p *provider) KubernetesRestConfig() *rest.Config { return p.cluster.REST }

// WaitForControlPlane waits until the control plane's own pods are ready.
func (p *provider) WaitForControlPlane(ctx context.Context, client klient.Client) error {
	r := client.Resources("kube-system")
	for _, component := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		pod := &corev1.Pod{}
		pod.Name, pod.Namespace = component+"-"+p.name+"-control-plane", "kube-system"
		if err := wait.For(conditions.New(r).PodReady(pod), wait.WithContext(ctx), wait.WithImmediate(), wait.WithInterval(250*time.Millisecond)); err != nil {
			return fmt.Errorf("wait for %s: %w", component, err)
		}
	}
	return nil
}
