package kindlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/engine"
)

// Clean removes the clusters of oomlab's that no running oomlab uses, or with
// all every one, and what is kept of them on this machine, and the containers
// of interrupted probes.
func Clean(ctx context.Context, e *engine.Engine, all bool, say func(what string)) error {
	names := map[string]bool{}
	dir, err := cache.Dir("clusters")
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for left clusters: %w", err)
	}
	for _, entry := range entries {
		names[entry.Name()] = true
	}
	containers, err := e.Containers(ctx, clusterLabel)
	if err != nil {
		return err
	}
	for _, c := range containers {
		// kind names a node after its cluster: NAME-control-plane, NAME-worker2.
		for _, role := range []string{"-control-plane", "-worker"} {
			if name, _, ok := strings.Cut(c.Name, role); ok && strings.HasPrefix(name, NamePrefix) {
				names[name] = true
			}
		}
	}
	var errs []error
	for name := range names {
		free, err := lockCluster(name)
		if errors.Is(err, cache.ErrLocked) && !all {
			say("kept cluster " + name + ": a running oomlab uses it (--all removes it)")
			continue
		} else if err == nil {
			free()
		} else if !errors.Is(err, cache.ErrLocked) {
			errs = append(errs, err)
			continue
		}
		if err := Delete(ctx, e, name); err != nil {
			errs = append(errs, err)
			continue
		}
		say("removed cluster " + name)
	}
	probes, err := e.Containers(ctx, engine.Label)
	errs = append(errs, err)
	for _, p := range probes {
		errs = append(errs, e.Remove(ctx, p.ID))
		say("removed container " + p.Name)
	}
	return errors.Join(errs...)
}
