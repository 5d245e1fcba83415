package kernelimage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/internal/cache"
)

// packages returns what the archive has, by lists that are at most maxAge old.
func (f fetcher) packages(ctx context.Context, maxAge time.Duration) ([]pkg, error) {
	var updateErr error
	if f.age() > maxAge {
		_, _ = fmt.Fprintf(f.out, "fetching Debian's lists of packages\n")
		if updateErr = f.archive.Update(ctx); updateErr == nil {
			now := time.Now()
			updateErr = os.Chtimes(f.lists, now, now)
		}
	}
	var names []string
	for _, prefix := range []string{"linux-image-", "linux-binary-"} {
		some, err := f.archive.Names(ctx, prefix)
		if err != nil {
			return nil, errors.Join(updateErr, err)
		}
		names = append(names, some...)
	}
	packages := kernelPackages(names)
	if len(packages) == 0 && updateErr != nil {
		// Half a list is good for nothing, and takes room.
		return nil, errors.Join(updateErr, os.RemoveAll(f.lists))
	}
	// Where some suite can't be reached, the others may have what is wanted.
	return packages, nil
}

// age returns how old the lists are.
func (f fetcher) age() time.Duration {
	info, err := os.Stat(f.lists)
	if err != nil {
		return math.MaxInt64
	}
	return time.Since(info.ModTime())
}

// fetch fetches by the lists that are there, and by new ones where that fails:
// old builds leave the archive, new series come.
func (f fetcher) fetch(ctx context.Context, query string) (Image, error) {
	unlock, err := cache.Lock(ctx, f.out, "kernel packages")
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	began := f.age()
	image, err := f.fetchListed(ctx, query, listsAge)
	if err == nil || ctx.Err() != nil || isFull(err) || began > listsAge || began < retryAge {
		return image, err
	}
	return f.fetchListed(ctx, query, 0)
}

// retryAge is how old lists must be for new ones to make a difference.
const retryAge = 10 * time.Minute

func (f fetcher) fetchListed(ctx context.Context, query string, maxAge time.Duration) (Image, error) {
	packages, err := f.packages(ctx, maxAge)
	if err != nil {
		return Image{}, fmt.Errorf("fetch kernel %s: %w", query, hint(err))
	}
	var found *pkg
	for i := range packages {
		if matches(packages[i].version, query) {
			found = &packages[i] // they are sorted: the last one is the newest
		}
	}
	if found == nil {
		return Image{}, fmt.Errorf("%w: Debian has no %q, but %s; or name the file of a kernel",
			ErrNotFound, query, strings.Join(seriesOf(packages), ", "))
	}
	dir, err := cache.Once(ctx, f.out, func(dir string) error { return f.fill(ctx, dir, *found) }, cacheDir, found.version)
	if err != nil {
		return Image{}, fmt.Errorf("fetch kernel %s: %w", found.version, hint(err))
	}
	return Image{Version: found.version, Package: found.name, File: filepath.Join(dir, imageFile)}, nil
}

// fill puts a package's kernel into dir, and nothing else of it.
func (f fetcher) fill(ctx context.Context, dir string, p pkg) error {
	_, _ = fmt.Fprintf(f.out, "fetching %s\n", p.name)
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	file, err := f.archive.Download(ctx, work, p.name)
	if err != nil {
		return err
	}
	tree := filepath.Join(work, "tree")
	if err := f.archive.Unpack(ctx, file, tree); err != nil {
		return err
	}
	var kernels []string
	for _, pattern := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		found, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			return err
		}
		kernels = append(kernels, found...)
	}
	if len(kernels) != 1 {
		return fmt.Errorf("%s: want one kernel in it, found %d", p.name, len(kernels))
	}
	if err := os.Rename(kernels[0], filepath.Join(dir, imageFile)); err != nil {
		return err
	}
	// Last: a directory with this file is complete.
	if err := os.WriteFile(filepath.Join(dir, packageFile), []byte(p.name+"\n"), 0o644); err != nil {
		return err
	}
	return os.RemoveAll(work)
}

// isFull reports that the disk was full: programs say so in words alone.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) ||
		strings.Contains(strings.ToLower(err.Error()), syscall.ENOSPC.Error()) ||
		strings.Contains(err.Error(), "enough free space") // apt, before it begins
}

// hint says what to do where the disk is full.
func hint(err error) error {
	root, dirErr := cache.Dir()
	if dirErr != nil || !isFull(err) {
		return err
	}
	return fmt.Errorf("%w\nthe disk with %s is full: a kernel's package and the lists need up to 300 MB for a while; free some, or set %s to another directory", err, root, cache.Env)
}
