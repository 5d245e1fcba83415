package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab"
	"github.com/oomlab/oomlab/internal/guestimage"
	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
)

// makeInput makes the disk with the suite, the stressor, the configuration of
// the cluster and the kernel's modules, from a tree that it makes.
func (o options) makeInput(ctx context.Context, file, tree, modules string) error {
	stressor, err := lab.Stressor(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	config, err := oneWorker(oomlab.KindConfig)
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.CopyFS(filepath.Join(tree, wire.ModulesDir), os.DirFS(modules)),
		os.WriteFile(filepath.Join(tree, "kind-config.yaml"), config, 0o644),
		copyFile(filepath.Join(tree, "e2e.test"), o.suite), copyFile(filepath.Join(tree, "oomlab-stressor"), stressor),
	); err != nil {
		return fmt.Errorf("gather what the guest needs: %w", err)
	}
	return guestimage.MakeDisk(ctx, file, tree, diskSize)
}

// oneWorker leaves one worker in a cluster: the compiled suite is one process,
// and a worker more costs minutes where instructions are translated.
func oneWorker(config []byte) ([]byte, error) {
	var cluster v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(config, &cluster); err != nil {
		return nil, fmt.Errorf("kind-config.yaml: %w", err)
	}
	workers := 0
	cluster.Nodes = slices.DeleteFunc(cluster.Nodes, func(n v1alpha4.Node) bool {
		if n.Role == v1alpha4.WorkerRole {
			workers++
		}
		return workers > 1 && n.Role == v1alpha4.WorkerRole
	})
	return yaml.Marshal(cluster)
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func makeOutput(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(diskSize)), f.Close())
}

// unpack puts the files of a tar stream into dir.
func unpack(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // what a guest writes gets nowhere else
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the guest's results: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
			return fmt.Errorf("read the guest's results: %w", err)
		}
		target, err := root.Create(h.Name)
		if err != nil {
			return fmt.Errorf("read the guest's results: %w", err)
		}
		_, err = io.Copy(target, r)
		if err := errors.Join(err, target.Close()); err != nil {
			return fmt.Errorf("read the guest's results: %w", err)
		}
	}
}
