package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// remembered is a proof as it is kept between runs.
type remembered struct {
	Key      string   `json:"key"` // what must not have changed for it to hold
	Engine   Engine   `json:"engine"`
	Settings settings `json:"settings"`
}

func (f finder) rememberedPath(name string) string { return filepath.Join(f.dir, name+".json") }

func (f finder) key(version string) string {
	return strings.Join([]string{version, f.boot, f.limits.String()}, " ")
}

func (f finder) remember(e *Engine, s settings) error {
	data, err := json.MarshalIndent(remembered{f.key(e.Version), *e, s}, "", "  ")
	if err == nil {
		err = writeFile(f.rememberedPath(e.Name), data)
	}
	if err != nil {
		return fmt.Errorf("remember engine: %w", err)
	}
	return nil
}

// recall returns the named engine if what was proven of it still holds. Anything
// wrong with what was remembered only means that the proof is made again.
func (f finder) recall(ctx context.Context, name string) (*Engine, bool) {
	data, err := os.ReadFile(f.rememberedPath(name))
	if err != nil {
		return nil, false
	}
	var r remembered
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, false
	}
	version, err := f.version(ctx, name)
	if err != nil || r.Key != f.key(version) {
		return nil, false
	}
	e := r.Engine
	e.run = f.run
	if e.env, err = f.apply(r.Settings); err != nil {
		return nil, false
	}
	return &e, true
}

// writeFile replaces a file in one step, so that no reader sees half of it.
func writeFile(path string, data []byte) error {
	partial := path + ".partial"
	if err := os.WriteFile(partial, data, 0o644); err != nil {
		return err
	}
	return os.Rename(partial, path)
}
