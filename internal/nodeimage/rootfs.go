package nodeimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/oomlab/oomlab/internal/cache"
)

// RootFS writes the root file system of the image of r to target, as one tar
// stream, for whoever boots it without a container engine. It needs no engine
// and builds what is missing. Where a path comes twice, the second counts, as
// for every program that unpacks tar files.
func RootFS(ctx context.Context, r Recipe, progress, target io.Writer) error {
	r = r.WithDefaults()
	if err := r.validate(); err != nil {
		return err
	}
	unlock, err := cache.Lock(ctx, progress, lockName(r))
	if err != nil {
		return err
	}
	defer unlock()
	return assemble(ctx, progress, r, func(_ string, layers []*layer) error {
		if err := concatenate(target, layers); err != nil {
			return fmt.Errorf("write root file system: %w", err)
		}
		return nil
	})
}

// Archive hands the image of r to use, as an archive that "docker load" reads
// and that is gone afterwards. It needs no engine and builds what is missing.
func Archive(ctx context.Context, r Recipe, progress io.Writer, use func(archive string) error) error {
	r = r.WithDefaults()
	unlock, err := cache.Lock(ctx, progress, lockName(r))
	if err != nil {
		return err
	}
	defer unlock()
	return build(ctx, progress, r, use)
}

// concatenate writes the entries of all layers as one tar stream. No layer
// built here removes anything from one below, so this is all there is to it.
func concatenate(target io.Writer, layers []*layer) error {
	w := tar.NewWriter(target)
	for _, l := range layers {
		if err := appendLayer(w, l); err != nil {
			return err
		}
	}
	return w.Close()
}

func appendLayer(w *tar.Writer, l *layer) error {
	content, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	for r := tar.NewReader(content); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
	}
}
