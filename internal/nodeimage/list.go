package nodeimage

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/mem"
)

// Built is an image that was built on this machine.
type Built struct {
	Ref       string    `json:"ref"`
	Recipe    Recipe    `json:"recipe"`
	SizeBytes mem.Bytes `json:"sizeBytes"` // of its layers, uncompressed
	BuiltAt   time.Time `json:"builtAt"`
}

// recordsDir is where the cache notes what was built.
const recordsDir = "node-image"

// record notes an image for List.
func record(b Built) error {
	dir, err := cache.Dir(recordsDir)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, b.Recipe.tag()+".json"), append(text, '\n'), 0o644)
}

// List returns the images that were built on this machine and that the engine
// still has, the newest first.
func List(ctx context.Context, engine Engine) ([]Built, error) {
	dir, err := cache.Dir(recordsDir)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var images []Built
	var errs []error
	for _, file := range files {
		var b Built
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &b)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		present, err := engine.HasImage(ctx, b.Ref)
		if err != nil {
			return nil, err
		}
		if present {
			images = append(images, b)
		}
	}
	slices.SortFunc(images, func(a, b Built) int { return b.BuiltAt.Compare(a.BuiltAt) })
	return images, errors.Join(errs...)
}
