//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/klient/wait"
	"sigs.k8s.io/e2e-framework/klient/wait/conditions"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/envfuncs"

	"github.com/oomlab/oomlab/internal/engine"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/kindlab"
	"github.com/oomlab/oomlab/internal/patience"
)

const (
	// upTimeout covers the build of a node image on a cold machine of two
	// cores; with the image in the cache a cluster takes half a minute.
	upTimeout   = 45 * time.Minute
	downTimeout = 3 * time.Minute
)

// What every process of the suite has.
var (
	artifacts = filepath.Join("..", "artifacts")
	facts     host.Facts
	cluster   *kindlab.Cluster
	client    klient.Client
)

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "oomlab")
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) []byte {
	facts, err := host.Read()
	Expect(err).NotTo(HaveOccurred())
	provider := newProvider(facts, GinkgoWriter)
	// Before it is made: an interrupt may come at any moment from here on.
	DeferCleanup(func(ctx SpecContext) {
		if os.Getenv("KEEP") != "" {
			say("kept the cluster: export KUBECONFIG=%s; bin/oomlab clean removes it", provider.GetKubeconfig())
			return
		}
		Expect(provider.Destroy(ctx)).To(Succeed())
	}, NodeTimeout(patience.With(downTimeout)))
	_, err = envfuncs.CreateClusterWithConfig(provider, kindlab.NewName(), filepath.Join("..", "kind-config.yaml"))(ctx, envconf.New())
	Expect(err).NotTo(HaveOccurred())
	data, err := json.Marshal(provider.name)
	Expect(err).NotTo(HaveOccurred())
	return data
}, func(ctx SpecContext, data []byte) {
	var name string
	Expect(json.Unmarshal(data, &name)).To(Succeed())
	var err error
	facts, err = host.Read()
	Expect(err).NotTo(HaveOccurred())
	e, err := engine.Find(ctx, engine.Options{NoInstall: true})
	Expect(err).NotTo(HaveOccurred())
	cluster, err = kindlab.Open(e, kindlab.Options{Name: name, Host: facts})
	Expect(err).NotTo(HaveOccurred())
	client, err = klient.New(cluster.REST)
	Expect(err).NotTo(HaveOccurred())
}, NodeTimeout(patience.With(upTimeout)))

// worker returns the node that this process has for itself.
func worker() string {
	GinkgoHelper()
	workers := cluster.Workers()
	Expect(len(workers)).To(BeNumerically(">=", GinkgoParallelProcess()),
		"kind-config.yaml has %d workers: run at most so many processes", len(workers))
	return workers[GinkgoParallelProcess()-1]
}

// expectReady asserts that the whole cluster is as healthy as it began.
func expectReady(ctx context.Context) {
	GinkgoHelper()
	nodes := &corev1.NodeList{}
	ready := conditions.New(client.Resources()).ResourceListMatchN(nodes, 1+len(cluster.Workers()), func(object k8s.Object) bool {
		for _, c := range object.(*corev1.Node).Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	})
	Expect(wait.For(ready, wait.WithContext(ctx), wait.WithTimeout(patience.With(time.Minute)), wait.WithImmediate(), wait.WithInterval(time.Second))).To(Succeed(), "every node is Ready")
}
