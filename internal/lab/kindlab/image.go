package kindlab

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"github.com/oomlab/oomlab/internal/lab"
)

// stressorPath is where the stressor is in its image, which holds nothing else
// but an empty /tmp.
const stressorPath = "/oomlab-stressor"

// stressorImage is the stressor as an image archive.
type stressorImage struct {
	ref     string
	archive []byte
}

// newStressorImage packs the stressor's program. The tag is its checksum, so
// that a node never runs a stale one.
func newStressorImage(ctx context.Context) (stressorImage, error) {
	path, err := lab.Stressor(ctx)
	if err != nil {
		return stressorImage{}, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return stressorImage{}, fmt.Errorf("read the stressor: %w", err)
	}
	sum := sha256.Sum256(program)
	tag, err := name.NewTag("localhost/oomlab/stressor:" + hex.EncodeToString(sum[:6]))
	if err != nil {
		return stressorImage{}, fmt.Errorf("name the stressor's image: %w", err)
	}
	image, err := packProgram(program)
	if err != nil {
		return stressorImage{}, fmt.Errorf("pack the stressor's image: %w", err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, image, &archive); err != nil {
		return stressorImage{}, fmt.Errorf("write the stressor's image: %w", err)
	}
	return stressorImage{ref: tag.String(), archive: archive.Bytes()}, nil
}

func packProgram(program []byte) (v1.Image, error) {
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for _, h := range []*tar.Header{
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: stressorPath[1:], Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
	} {
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(program); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers", DiffIDs: diffIDs(layer)},
		Config: v1.Config{Entrypoint: []string{stressorPath}},
	})
}

func diffIDs(layer v1.Layer) []v1.Hash {
	id, err := layer.DiffID()
	if err != nil {
		return nil // ConfigFile then refuses the image
	}
	return []v1.Hash{id}
}

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
	if err := nodeutils.LoadImageArchive(node, bytes.NewReader(stressor.archive)); err != nil {
		return "", fmt.Errorf("load the stressor's image on %s: %w", worker, err)
	}
	return stressor.ref, nil
}

// packStressor packs the stressor's image once.
func (c *Cluster) packStressor(ctx context.Context) (_ stressorImage, err error) {
	c.packing.Lock()
	defer c.packing.Unlock()
	if c.stressor.ref == "" {
		c.stressor, err = newStressorImage(ctx)
	}
	return c.stressor, err
}
