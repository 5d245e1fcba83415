// Package nodeimage provides the image that kind's nodes run.
//
// Where kindest/node is present or can be pulled, that is used. Elsewhere the
// same is built from Debian packages and Go modules, without any image
// registry or container engine: Debian's userland, the node files of kind,
// containerd, runc and CNI plugins, all of Kubernetes and etcd linked as one
// binary, and the control plane's images unpacked in containerd's store. What
// is left out against kind's images: crictl, CoreDNS, kube-proxy, kindnet (a
// static ptp network takes its place), the storage provisioner, and what
// rootless nodes need.
package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/mem"
)

// Engine is what is needed of a container engine.
type Engine interface {
	HasImage(ctx context.Context, ref string) (bool, error)
	Load(ctx context.Context, archive string) error // as "docker load" does
	Pull(ctx context.Context, ref string) error
}

// Options say which image is wanted.
type Options struct {
	// Ref, where not empty, is an image that is used as it is.
	Ref string
	// Recipe is what to build where Ref is empty and kind has published no
	// image of just these versions.
	Recipe Recipe
	// Build keeps Ensure from looking for an image of kind's.
	Build bool
	// Progress is told of every long step and how long it took. Nil is silent.
	Progress io.Writer
}

// registryTimeout bounds the question whether a registry has an image. Where
// none can be reached, every first run waits for it.
const registryTimeout = 5 * time.Second

// Ensure returns the name of an image that the engine has, after pulling or
// building it where necessary. With an image that is present it takes no
// longer than asking the engine.
func Ensure(ctx context.Context, engine Engine, o Options) (ref string, err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Ref != "" {
		return o.Ref, ensureGiven(ctx, engine, o)
	}
	recipe := o.Recipe.WithDefaults()
	if err := recipe.validate(); err != nil {
		return "", err
	}
	published := "docker.io/kindest/node:" + recipe.Kubernetes
	candidates := []string{published, recipe.Ref()}
	if o.Build || recipe != (Recipe{Kubernetes: recipe.Kubernetes}).WithDefaults() {
		candidates = candidates[1:] // kind's have versions of their own
	}
	for _, ref := range candidates {
		if present, err := engine.HasImage(ctx, ref); present || err != nil {
			return ref, err
		}
	}
	if candidates[0] == published {
		if err := pullPublished(ctx, engine, published, o.Progress); err == nil {
			return published, nil
		} else if ctx.Err() != nil {
			return "", err
		}
	}
	return recipe.Ref(), buildAndLoad(ctx, engine, recipe, o.Progress)
}

// ensureGiven sees that the engine has the image that the user named.
func ensureGiven(ctx context.Context, engine Engine, o Options) error {
	present, err := engine.HasImage(ctx, o.Ref)
	if present || err != nil {
		return err
	}
	_, _ = fmt.Fprintf(o.Progress, "pulling %s\n", o.Ref)
	if err := engine.Pull(ctx, o.Ref); err != nil {
		return fmt.Errorf("node image %s is not present and can't be pulled (load it into the engine, or leave NODE_IMAGE empty to build one): %w", o.Ref, err)
	}
	return nil
}

// pullPublished pulls an image if its registry has it.
func pullPublished(ctx context.Context, engine Engine, ref string, out io.Writer) error {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "looking for %s\n", ref)
	short, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	if _, err := remote.Head(parsed, remote.WithContext(short)); err != nil {
		_, _ = fmt.Fprintf(out, "%s can't be pulled (%s): building a node image\n", ref, reason(err))
		return err
	}
	_, _ = fmt.Fprintf(out, "pulling %s\n", ref)
	err = engine.Pull(ctx, ref)
	if err != nil {
		_, _ = fmt.Fprintf(out, "%s could not be pulled (%v): building a node image\n", ref, err)
	}
	return err
}

// reason is what a person needs of a registry's error.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", registryTimeout)
	}
	text := err.Error()
	return strings.TrimSpace(text[strings.LastIndex(text, ": ")+1:])
}

// buildAndLoad builds the image of r into the engine, unless another oomlab
// did so while this one waited for its turn.
func buildAndLoad(ctx context.Context, engine Engine, r Recipe, out io.Writer) error {
	unlock, err := cache.Lock(ctx, out, lockName(r))
	if err != nil {
		return err
	}
	defer unlock()
	if present, err := engine.HasImage(ctx, r.Ref()); present || err != nil {
		return err
	}
	start := time.Now()
	var size mem.Bytes
	err = build(ctx, out, r, func(archive string) error {
		info, err := os.Stat(archive)
		if err != nil {
			return err
		}
		size = mem.Bytes(info.Size())
		return engine.Load(ctx, archive)
	})
	if ctx.Err() != nil {
		err = context.Cause(ctx) // not the programs that it stopped
	}
	if err != nil {
		return fmt.Errorf("build node image: %w", err)
	}
	_, _ = fmt.Fprintf(out, "node image %s is ready after %s\n", r.Ref(), time.Since(start).Round(time.Second))
	return record(Built{Ref: r.Ref(), Recipe: r, SizeBytes: size, BuiltAt: time.Now().UTC().Truncate(time.Second)})
}

// lockName names the lock that keeps one image from being built twice at once.
func lockName(r Recipe) string { return "node image " + r.tag() }
