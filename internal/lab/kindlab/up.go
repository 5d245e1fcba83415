package kindlab

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/oomlab/oomlab/internal/engine"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/nodeimage"
)

// UpOptions say which cluster to bring up.
type UpOptions struct {
	Name string // empty: a new one
	// NodeImage is used as it is; empty: kindest/node of Kubernetes where it can
	// be had, or one that is built.
	NodeImage  string
	Kubernetes string // v1.37.2; empty: the newest one that is known
	// Workers are the node images of the workers, one worker each; empty: as
	// many workers as Config has, with the cluster's image.
	Workers []nodeimage.Options
	Config  []byte // the kind configuration; nil: oomlab's own
	Host    host.Facts
	// Out is told of every step. Nil is silent.
	Out io.Writer
}

// Up brings a cluster up from a bare machine: the container engine, the node
// image, the cluster.
func Up(ctx context.Context, o UpOptions) (*Cluster, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Name == "" {
		o.Name = NewName()
	}
	e, err := engine.Find(ctx, engine.Options{Out: o.Out})
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(o.Out, "engine: %s %s (%s)\n", e.Name, e.Version, e.Proof)
	image, err := nodeimage.Ensure(ctx, e, nodeimage.Options{
		Ref: o.NodeImage, Recipe: nodeimage.Recipe{Kubernetes: o.Kubernetes}, Progress: o.Out,
	})
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(o.Out, "node image: %s\n", image)
	var workerImages []string
	for _, w := range o.Workers {
		w.Progress = o.Out
		ref, err := nodeimage.Ensure(ctx, e, w)
		if err != nil {
			return nil, err
		}
		_, _ = fmt.Fprintf(o.Out, "a worker's image: %s\n", ref)
		workerImages = append(workerImages, ref)
	}
	start := time.Now()
	c, err := Create(ctx, e, Options{Name: o.Name, Image: image, WorkerImages: workerImages, Config: o.Config, Host: o.Host, Out: o.Out})
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(o.Out, "cluster %s is up after %.0f s\n", c.Name, time.Since(start).Seconds())
	return c, nil
}
