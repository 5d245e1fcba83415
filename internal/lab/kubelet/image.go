package kubelet

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

	"github.com/oomlab/oomlab/internal/lab"
)

// StressorPath is where the stressor is in its image, which holds nothing else
// but an empty /tmp.
const StressorPath = "/oomlab-stressor"

// StressorImage is the stressor as an image archive, as "docker save" writes it.
type StressorImage struct {
	Ref     string
	Archive []byte
}

// PackStressor packs the stressor's program. The tag is its checksum, so
// that a node never runs a stale one.
func PackStressor(ctx context.Context) (StressorImage, error) {
	path, err := lab.Stressor(ctx)
	if err != nil {
		return StressorImage{}, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return StressorImage{}, fmt.Errorf("read the stressor: %w", err)
	}
	sum := sha256.Sum256(program)
	tag, err := name.NewTag("localhost/oomlab/stressor:" + hex.EncodeToString(sum[:6]))
	if err != nil {
		return StressorImage{}, fmt.Errorf("name the stressor's image: %w", err)
	}
	image, err := packProgram(program)
	if err != nil {
		return StressorImage{}, fmt.Errorf("pack the stressor's image: %w", err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, image, &archive); err != nil {
		return StressorImage{}, fmt.Errorf("write the stressor's image: %w", err)
	}
	return StressorImage{Ref: tag.String(), Archive: archive.Bytes()}, nil
}

func packProgram(program []byte) (v1.Image, error) {
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for _, h := range []*tar.Header{
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: StressorPath[1:], Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
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
		Config: v1.Config{Entrypoint: []string{StressorPath}},
	})
}

func diffIDs(layer v1.Layer) []v1.Hash {
	id, err := layer.DiffID()
	if err != nil {
		return nil // ConfigFile then refuses the image
	}
	return []v1.Hash{id}
}
