package nodeimage

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/oomlab/oomlab/internal/gobin"
	"github.com/oomlab/oomlab/internal/proc"
)

// The network of a node without kindnet: every pod gets an address of its
// node's own, which no other node can reach. Scenarios need no more.
//
//go:embed files/10-oomlab.conflist
var cniConfig string

// kind applies these two files of a node, so both must exist and be valid.
//
//go:embed files/default-cni.yaml
var defaultCNI string

//go:embed files/default-storage.yaml
var defaultStorage string

// enabledUnits are linked as "systemctl enable" would: all are WantedBy
// multi-user.target.
var enabledUnits = []string{"kubelet.service", "containerd.service", "undo-mount-hacks.service"}

// kindFiles returns the directory with the node files of kind.
func kindFiles(ctx context.Context) (string, error) {
	dir, err := gobin.Source(ctx, "sigs.k8s.io/kind", kindVersion)
	return filepath.Join(dir, "images/base/files"), err
}

// writeNode writes the layer that makes Debian a node of kind, whatever the
// version of Kubernetes: kind's files, the container runtime, the network. It
// follows images/base/Dockerfile and pkg/build/nodeimage of kind.
func writeNode(ctx context.Context, path, kind string, b binaries) (*layer, error) {
	ociSpec, err := baseSpec(ctx, b)
	if err != nil {
		return nil, err
	}
	w := createLayer(path)
	w.copyKindFiles(kind)

	w.symlink("/usr/sbin/init", "/usr/lib/systemd/systemd")
	w.text("/etc/systemd/journald.conf.d/kmsg.conf", "[Journal]\nReadKMsg=no\n")
	for _, unit := range enabledUnits {
		w.symlink("/etc/systemd/system/multi-user.target.wants/"+unit, "/etc/systemd/system/"+unit)
	}
	// It would register its formats with the kernel of the host.
	w.symlink("/etc/systemd/system/systemd-binfmt.service", "/dev/null")

	for _, name := range []string{"containerd", "ctr"} {
		w.link("/usr/local/bin/"+name, filepath.Join(b.containerd, name))
	}
	w.copy("/usr/local/bin/"+shim, 0o755, b.shim)
	w.copy("/usr/local/sbin/runc", 0o755, b.runc)
	w.text("/etc/containerd/cri-base.json", ociSpec)
	for name := range cniSpec("").Commands {
		w.copy("/opt/cni/bin/"+name, 0o755, filepath.Join(b.cni, name))
	}
	w.text("/etc/cni/net.d/10-oomlab.conflist", cniConfig)
	w.text("/kind/manifests/default-cni.yaml", defaultCNI)
	w.text("/kind/manifests/default-storage.yaml", defaultStorage)
	w.dir("/etc/kubernetes/manifests", 0o755)
	return w.close()
}

// copyKindFiles copies kind's files with the modes that its Dockerfile gives
// them: those in a module cache have none of their own.
func (w *writer) copyKindFiles(dir string) {
	if w.err != nil {
		return
	}
	w.err = fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == "usr/local/bin/clean-install" { // runs apt-get
			return err
		}
		w.copy("/"+name, kindFileMode(name), filepath.Join(dir, name))
		return w.err
	})
}

func kindFileMode(name string) fs.FileMode {
	if strings.HasPrefix(name, "usr/local/bin/") || strings.HasPrefix(name, "kind/bin/") {
		return 0o755
	}
	return 0o644
}

// link copies a binary, or, where the build made it a link to a multi-call
// binary, the link.
func (w *writer) link(name, source string) {
	if target, err := os.Readlink(source); err == nil {
		w.symlink(name, target)
		return
	}
	w.copy(name, 0o755, source)
}

// writeKubernetes writes the layer with the programs of Kubernetes.
func writeKubernetes(path string, r Recipe, b binaries) (*layer, error) {
	w := createLayer(path)
	w.copy("/usr/bin/"+hyperkube, 0o755, filepath.Join(b.kubernetes, hyperkube))
	w.symlink("/usr/bin/kubeadm", hyperkube)
	w.symlink("/usr/bin/kubectl", hyperkube)
	if b.kubelet != "" {
		w.copy("/usr/bin/kubelet", 0o755, b.kubelet)
	} else {
		w.symlink("/usr/bin/kubelet", hyperkube)
	}
	// What kubeadm is: kind writes its configuration for this version.
	w.text("/kind/version", r.Kubernetes)
	return w.close()
}

// baseSpec returns the OCI runtime specification that containers on a node
// start from: containerd's default, kind's hook, no limits.
func baseSpec(ctx context.Context, b binaries) (string, error) {
	out, err := proc.Output(proc.Command(ctx, filepath.Join(b.containerd, "ctr"), "oci", "spec"))
	if err != nil {
		return "", err
	}
	return addHook(out)
}

// addHook edits an OCI runtime specification as kind's Dockerfile does with
// jq: every container gets a product UUID of its own, none gets the rlimits of
// whoever wrote the specification.
func addHook(text []byte) (string, error) {
	var spec map[string]any
	if err := json.Unmarshal(text, &spec); err != nil {
		return "", fmt.Errorf("parse OCI runtime specification: %w", err)
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return "", fmt.Errorf("OCI runtime specification has no process: %.100s", text)
	}
	delete(process, "rlimits")
	hooks, _ := spec["hooks"].(map[string]any)
	if hooks == nil {
		hooks = map[string]any{}
		spec["hooks"] = hooks
	}
	existing, _ := hooks["createContainer"].([]any)
	hooks["createContainer"] = append(existing, map[string]any{"path": "/kind/bin/mount-product-files.sh"})
	out, err := json.MarshalIndent(spec, "", "  ")
	return string(out), err
}
