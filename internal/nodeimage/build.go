package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
)

// buildPackages are needed to build: a C compiler and static C library for
// pause, and for runc the headers of libseccomp.
var buildPackages = []string{"gcc", "libc6-dev", "pkg-config", "libseccomp-dev"}

// build makes the image of r, and hands the archive that holds it to use. The
// long parts, Debian's packages and Go's binaries, stay in the cache; putting
// them together takes seconds, and its remains are removed.
func build(ctx context.Context, out io.Writer, r Recipe, use func(archive string) error) error {
	return assemble(ctx, out, r, func(work string, layers []*layer) error {
		image, err := newImage(nodeConfig(r), layers...)
		if err != nil {
			return err
		}
		tag, err := name.NewTag(r.Ref())
		if err != nil {
			return err
		}
		archive := filepath.Join(work, "node.tar")
		if err := tarball.WriteToFile(archive, tag, image); err != nil {
			return fmt.Errorf("write image archive: %w", err)
		}
		return use(archive)
	})
}

// assemble makes the layers of r in a directory that exists while use runs.
func assemble(ctx context.Context, out io.Writer, r Recipe, use func(work string, layers []*layer) error) (err error) {
	if err := r.validate(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("a node image can only be built by root: run with sudo, or set NODE_IMAGE to one that exists")
	}
	if err := apt.Ensure(ctx, out, buildPackages...); err != nil {
		return err
	}
	kind, err := kindFiles(ctx)
	if err != nil {
		return err
	}
	binaries, err := buildBinaries(ctx, out, r)
	if err != nil {
		return err
	}
	root, err := debian(ctx, out)
	if err != nil {
		return err
	}
	start := time.Now()
	_, _ = fmt.Fprintf(out, "assembling %s\n", r.Ref())
	parent, err := cache.Dir("work")
	if err != nil {
		return err
	}
	work := filepath.Join(parent, r.tag()) // the caller's lock makes it ours
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	layers := make([]*layer, 4)
	for i, write := range []func() (*layer, error){
		// Those that change least come first, so that images share them.
		func() (*layer, error) { return openLayer(root) },
		func() (*layer, error) { return writeNode(ctx, filepath.Join(work, "node-layer.tar"), kind, binaries) },
		func() (*layer, error) {
			return writeKubernetes(filepath.Join(work, "kubernetes-layer.tar"), r, binaries)
		},
		func() (*layer, error) {
			return writeSeed(ctx, filepath.Join(work, "seed-layer.tar"), work, kind, r, binaries)
		},
	} {
		if layers[i], err = write(); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(out, "assembled %s in %s\n", r.Ref(), time.Since(start).Round(100*time.Millisecond))
	return use(work, layers)
}

// nodeConfig is the metadata of kind's images/base/Dockerfile, and what the
// image is made of.
func nodeConfig(r Recipe) v1.Config {
	return v1.Config{
		Env:        []string{"container=docker"}, // what systemd looks for
		StopSignal: "SIGRTMIN+3",                 // SIGTERM means "re-execute" to systemd
		Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"},
		Labels: map[string]string{
			"dev.oomlab.kubernetes": r.Kubernetes,
			"dev.oomlab.kubelet":    r.Kubelet,
			"dev.oomlab.containerd": r.Containerd,
			"dev.oomlab.runc":       r.Runc,
			"dev.oomlab.cni":        r.CNI,
			"dev.oomlab.kind":       kindVersion,
		},
	}
}

// newImage returns an image for this machine's architecture.
func newImage(config v1.Config, layers ...*layer) (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       config,
		RootFS:       v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		if image, err = mutate.Append(image, mutate.Addendum{Layer: l}); err != nil {
			return nil, err
		}
	}
	return image, nil
}
