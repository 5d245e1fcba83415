package nodeimage

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/oomlab/oomlab/internal/proc"
)

//go:embed pause/pause.c
var pauseSource string

// containerdTimeout bounds the start of the containerd that imports images.
const containerdTimeout = time.Minute

// containerdConfig makes a containerd that does nothing but keep images: no
// CRI, no node resource interface, nothing outside of its own directories.
const containerdConfig = `version = 2
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
]
`

// writeSeed writes the layer with /var/lib/containerd: the control plane's
// images and pause, unpacked, so that a node starts them without importing or
// pulling anything. The containerd that will run there makes it.
func writeSeed(ctx context.Context, path, work, kind string, r Recipe, b binaries) (*layer, error) {
	archive := filepath.Join(work, "control-plane.tar")
	if err := writeControlPlane(ctx, archive, work, kind, r, b); err != nil {
		return nil, err
	}
	root := filepath.Join(work, "containerd")
	if err := importImages(ctx, b, root, archive); err != nil {
		return nil, err
	}
	w := createLayer(path)
	for _, part := range []string{
		"io.containerd.content.v1.content",
		"io.containerd.metadata.v1.bolt",
		"io.containerd.snapshotter.v1.overlayfs",
	} {
		w.tree("/var/lib/containerd/"+part, filepath.Join(root, part))
	}
	return w.close()
}

// writeControlPlane writes an archive of the control plane's images, under the
// names that kubeadm and containerd look for. All but pause share one layer.
func writeControlPlane(ctx context.Context, archive, work, kind string, r Recipe, b binaries) error {
	refs, err := kubeadmImages(ctx, b, r.Kubernetes)
	if err != nil {
		return err
	}
	sandbox, err := sandboxImage(filepath.Join(kind, "etc/containerd/config.toml"))
	if err != nil {
		return err
	}
	etcd, err := b.etcdVersion()
	if err != nil {
		return err
	}
	pause, err := writePause(ctx, work)
	if err != nil {
		return err
	}
	w := createLayer(filepath.Join(work, "control-plane-layer.tar"))
	w.copy("/usr/local/bin/"+hyperkube, 0o755, filepath.Join(b.kubernetes, hyperkube))
	for _, component := range controlPlane {
		w.symlink("/usr/local/bin/"+component, hyperkube)
	}
	programs, err := w.close()
	if err != nil {
		return err
	}
	images := map[name.Reference]v1.Image{}
	add := func(ref string, content *layer, version string, entrypoint ...string) error {
		tag, err := name.NewTag(ref)
		if err != nil {
			return err
		}
		images[tag], err = newImage(v1.Config{
			Env:        []string{"PATH=/usr/local/bin"},
			Entrypoint: entrypoint,
			Labels:     map[string]string{"org.opencontainers.image.version": version},
		}, content)
		return err
	}
	for _, ref := range refs {
		component, tag, _ := strings.Cut(filepath.Base(ref), ":")
		version := tag
		if component == "etcd" {
			version = etcd // the label tells the truth where kubeadm's tag is another
		}
		switch {
		case slices.Contains(controlPlane, component):
			err = add(ref, programs, version, component)
		case component == "pause":
			err = errors.Join(add(ref, pause, "oomlab", "/pause"), add(sandbox, pause, "oomlab", "/pause"))
		}
		if err != nil {
			return err
		}
	}
	return tarball.MultiRefWriteToFile(archive, images)
}

// controlPlane are the programs that kubeadm runs as static pods.
var controlPlane = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// kubeadmImages asks kubeadm what images it wants.
func kubeadmImages(ctx context.Context, b binaries, version string) ([]string, error) {
	out, err := proc.Output(proc.Command(ctx, filepath.Join(b.kubernetes, "kubeadm"),
		"config", "images", "list", "--kubernetes-version", version))
	return strings.Fields(string(out)), err
}

var sandboxImageLine = regexp.MustCompile(`(?m)^\s*sandbox_image = "([^"]+)"$`)

// sandboxImage returns the pause image that a containerd configuration names.
func sandboxImage(config string) (string, error) {
	text, err := os.ReadFile(config)
	if err != nil {
		return "", err
	}
	found := sandboxImageLine.FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("%s names no sandbox_image", config)
	}
	return string(found[1]), nil
}

// writePause compiles pause into a layer.
func writePause(ctx context.Context, work string) (*layer, error) {
	source, binary := filepath.Join(work, "pause.c"), filepath.Join(work, "pause")
	if err := os.WriteFile(source, []byte(pauseSource), 0o644); err != nil {
		return nil, err
	}
	if err := proc.Run(proc.Command(ctx, "gcc", "-Os", "-static", "-s", "-o", binary, source)); err != nil {
		return nil, err
	}
	w := createLayer(filepath.Join(work, "pause-layer.tar"))
	w.copy("/pause", 0o755, binary)
	return w.close()
}

// importImages lets a containerd of b unpack the images of an archive into
// root. It ends with this call.
func importImages(ctx context.Context, b binaries, root, archive string) (err error) {
	// A socket's path has at most 108 bytes: the cache's may be longer.
	run, err := os.MkdirTemp("", "oomlab-containerd-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(run)) }()
	config, socket := filepath.Join(run, "config.toml"), filepath.Join(run, "sock")
	if err := os.WriteFile(config, []byte(containerdConfig), 0o644); err != nil {
		return err
	}
	daemonCtx, stop := context.WithCancel(ctx)
	daemon := proc.Command(daemonCtx, filepath.Join(b.containerd, "containerd"),
		"--config", config, "--root", root, "--state", filepath.Join(run, "state"), "--address", socket)
	// Nobody else sees what it mounts. (proc.Isolated is too much: containerd
	// wants a /proc of its own PID namespace.)
	daemon.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	failed := make(chan error, 1)
	go func() { failed <- proc.Run(daemon) }()
	ended := false
	defer func() {
		stop()
		if !ended {
			<-failed //nolint:errcheck // that it was told to stop is not an error
		}
	}()

	ctr := func(args ...string) error {
		args = append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)
		return proc.Run(proc.Command(ctx, filepath.Join(b.containerd, "ctr"), args...))
	}
	for deadline := time.Now().Add(containerdTimeout); ; {
		notYet := ctr("version")
		if notYet == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("start containerd within %s: %w", containerdTimeout, notYet)
		}
		select {
		case err := <-failed:
			ended = true
			return fmt.Errorf("start containerd to import images: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := ctr("images", "import", "--local", "--discard-unpacked-layers",
		"--label", "io.cri-containerd.pinned=pinned", archive); err != nil {
		return err
	}
	// The layers are unpacked; this collects their archives before we stop.
	return ctr("content", "prune", "references")
}
