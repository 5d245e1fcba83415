package kindlab

import (
	"bytes"
	"context"
	"fmt"

	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
)

// loadStressor puts the stressor's image into the worker's containerd.
func (c *Cluster) loadStressor(ctx context.Context, worker string) (ref string, err error) {
	stressor, err := c.packStressor(ctx)
	if err != nil {
		return "", err
	}
	node, err := c.kindNode(worker)
	if err != nil {
		return "", err
	}
	if err := nodeutils.LoadImageArchive(node, bytes.NewReader(stressor.Archive)); err != nil {
		return "", fmt.Errorf("load the stressor's image on %s: %w", worker, err)
	}
	return stressor.Ref, nil
}

// packStressor packs the stressor's image once.
func (c *Cluster) packStressor(ctx context.Context) (_ kubelet.StressorImage, err error) {
	c.packing.Lock()
	defer c.packing.Unlock()
	if c.stressor.Ref == "" {
		c.stressor, err = kubelet.PackStressor(ctx)
	}
	return c.stressor, err
}
