package guestimage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/proc"
)

// nodeSize is what a node's disk holds, sparse here: its root file system,
// containers, logs, and a file to swap to.
const nodeSize = 4 * mem.GiB

// Node returns the file of a disk with the root file system of a node image:
// containerd, a kubelet, and the images that they need. It is made once for
// what it is made of, and must not be changed.
func Node(ctx context.Context, out io.Writer, r nodeimage.Recipe) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("a node's disk can only be made by root: run with sudo")
	}
	identity := sha256.Sum256([]byte(r.Ref()))
	dir, err := cache.Once(ctx, out, func(dir string) error { return fillNode(ctx, out, dir, r) },
		"guest", fmt.Sprintf("node-%s-%x", r.WithDefaults().Kubelet, identity[:6]))
	return filepath.Join(dir, rootFile), err
}

func fillNode(ctx context.Context, out io.Writer, dir string, r nodeimage.Recipe) error {
	if err := apt.Ensure(ctx, out, "e2fsprogs"); err != nil {
		return err
	}
	start := time.Now()
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	if err := unpackNode(ctx, out, tree, r); err != nil {
		return err
	}
	if err := MakeDisk(ctx, filepath.Join(dir, rootFile), tree, nodeSize); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "the node's disk is ready after %s\n", time.Since(start).Round(time.Second))
	return os.RemoveAll(tree)
}

// unpackNode unpacks the root file system as it is written.
func unpackNode(ctx context.Context, out io.Writer, tree string, r nodeimage.Recipe) error {
	read, write := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := nodeimage.RootFS(ctx, r, out, write)
		write.CloseWithError(err)
		written <- err
	}()
	unpack := proc.Command(ctx, "tar", "--extract", "--numeric-owner", "--preserve-permissions", "--directory", tree)
	unpack.Stdin = read
	err := proc.Run(unpack)
	read.CloseWithError(err)
	if err := errors.Join(<-written, err); err != nil {
		return fmt.Errorf("unpack the node's root file system: %w", err)
	}
	return nil
}
