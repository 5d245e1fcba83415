package nodeimage

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/oomlab/oomlab/internal/gobin"
)

// hyperkube is the name of the one binary that is all of Kubernetes and etcd.
const hyperkube = "hyperkube"

// etcdModule is among the dependencies of k8s.io/kubernetes, whose own tests
// run it: what they ran against is what goes into the image.
const etcdModule = "go.etcd.io/etcd/server/v3"

// kubernetesSpec builds everything of Kubernetes that an image needs. Linked
// as one, it takes a fifth of the disk of seven separate binaries.
func kubernetesSpec(version string) gobin.Spec {
	spec := kubeletSpec(version)
	spec.MultiCall = hyperkube
	for _, name := range []string{
		"kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
	} {
		spec.Commands[name] = "k8s.io/kubernetes/cmd/" + name
	}
	spec.Commands["etcd"] = etcdModule
	return spec
}

// kubeletSpec builds the kubelet alone, for a worker older than its cluster.
func kubeletSpec(version string) gobin.Spec {
	return gobin.Spec{
		Module:   "k8s.io/kubernetes",
		Version:  version,
		Staging:  staging(version),
		Commands: map[string]string{"kubelet": "k8s.io/kubernetes/cmd/kubelet"},
		LDFlags:  kubernetesLDFlags(version),
	}
}

// kubernetesLDFlags stamp the version as hack/lib/version.sh does. What can't
// be known from a module, the commit and the date, keeps its placeholder.
func kubernetesLDFlags(version string) []string {
	minor := strings.TrimPrefix(semver.MajorMinor(version), "v1.")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X", pkg+".gitVersion="+version,
			"-X", pkg+".gitMajor=1",
			"-X", pkg+".gitMinor="+minor)
	}
	return flags
}

// containerdModule is that of containerd 2.
const containerdModule = "github.com/containerd/containerd/v2"

// containerdTags leave out snapshotters that kind never selects, as kind's
// own base image does.
var containerdTags = []string{"no_btrfs", "no_devmapper", "no_zfs"}

func containerdSpec(version string) gobin.Spec {
	return gobin.Spec{
		Module:  containerdModule,
		Version: version,
		Commands: map[string]string{
			"containerd": containerdModule + "/cmd/containerd",
			"ctr":        containerdModule + "/cmd/ctr",
		},
		MultiCall: "containerd",
		Tags:      containerdTags,
		LDFlags:   []string{"-X", containerdModule + "/version.Version=" + version},
	}
}

// shimSpec is not part of containerdSpec: both register plugins in one global
// table and start all they find there. There is a shim for every pod, and so,
// as in containerd's own Makefile, it goes without gRPC.
func shimSpec(version string) gobin.Spec {
	spec := containerdSpec(version)
	spec.MultiCall = ""
	spec.Commands = map[string]string{shim: containerdModule + "/cmd/" + shim}
	spec.Tags = append([]string{"no_grpc"}, containerdTags...)
	return spec
}

const shim = "containerd-shim-runc-v2"

func cniSpec(version string) gobin.Spec {
	const module = "github.com/containernetworking/plugins"
	return gobin.Spec{
		Module:  module,
		Version: version,
		Commands: map[string]string{
			"host-local": module + "/plugins/ipam/host-local",
			"loopback":   module + "/plugins/main/loopback",
			"portmap":    module + "/plugins/meta/portmap",
			"ptp":        module + "/plugins/main/ptp",
		},
	}
}

// binaries are the directories and files that the builds of a recipe are in.
type binaries struct {
	kubernetes string // directory: hyperkube and links to it
	kubelet    string // file; empty where it is hyperkube's
	containerd string // directory: containerd and ctr, a link to it
	shim       string // file
	runc       string // file
	cni        string // directory
}

// buildBinaries builds what is not in the cache yet, the longest first: a
// wrong version of Kubernetes is noticed at once.
func buildBinaries(ctx context.Context, out io.Writer, r Recipe) (b binaries, err error) {
	build := func(spec gobin.Spec) string {
		if err != nil {
			return ""
		}
		var dir string
		dir, err = gobin.Build(ctx, out, spec)
		return dir
	}
	b.kubernetes = build(kubernetesSpec(r.Kubernetes))
	if r.Kubelet != r.Kubernetes {
		b.kubelet = filepath.Join(build(kubeletSpec(r.Kubelet)), "kubelet")
	}
	b.containerd = build(containerdSpec(r.Containerd))
	b.shim = filepath.Join(build(shimSpec(r.Containerd)), shim)
	b.cni = build(cniSpec(r.CNI))
	if err != nil {
		return binaries{}, err
	}
	b.runc, err = gobin.Runc(ctx, out, r.Runc)
	return b, err
}

// etcdVersion returns the version of etcd that is linked into b.
func (b binaries) etcdVersion() (string, error) {
	path := filepath.Join(b.kubernetes, hyperkube)
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	for _, dep := range info.Deps {
		if dep.Path == etcdModule {
			return dep.Version, nil
		}
	}
	return "", fmt.Errorf("%s is not linked into %s", etcdModule, path)
}
