// Package kernelimage finds Linux kernels by their series: it fetches them from
// Debian's archives into the cache, as Debian built and signed them, and
// installs nothing. A kernel of one's own needs none of this: it is a file.
package kernelimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
)

// Image is a kernel in the cache.
type Image struct {
	// Version is Debian's name of the build: "6.12.117+deb13".
	Version string `json:"version"`
	// Package is what it came from: "linux-image-6.12.117+deb13-cloud-amd64".
	Package string `json:"package"`
	// File is the bootable image.
	File string `json:"file"`
}

// ErrNotFound is wrapped where no kernel of the wanted series is to be had. The
// error's text lists what is.
var ErrNotFound = errors.New("no such kernel")

const (
	debianMirror   = "http://deb.debian.org/debian"
	securityMirror = "http://deb.debian.org/debian-security"
	architecture   = "amd64"
)

// sources are the suites that have kernels, oldest first: 5.10 and 6.1 in
// bullseye and bookworm, 6.12 in trixie, newer ones in backports.
var sources = []string{
	debianMirror + " bullseye main", securityMirror + " bullseye-security main",
	debianMirror + " bookworm main", securityMirror + " bookworm-security main", debianMirror + " bookworm-backports main",
	debianMirror + " trixie main", securityMirror + " trixie-security main", debianMirror + " trixie-backports main",
}

// listsAge is how old the lists of packages may be.
const listsAge = 24 * time.Hour

// archive is where kernels come from; tests replace it.
type archive interface {
	Update(ctx context.Context) error
	Names(ctx context.Context, prefix string) ([]string, error)
	Download(ctx context.Context, dir, name string) (file string, err error)
	Unpack(ctx context.Context, file, dir string) error
}

// Find returns the newest kernel in the cache that query names, or fetches the
// newest that Debian has. A query is a series, "6.12", or the beginning of a
// version, "6.12.117". It tells out what it fetches.
func Find(ctx context.Context, out io.Writer, query string) (Image, error) {
	cached, err := Cached()
	if err != nil {
		return Image{}, err
	}
	if image, ok := newest(cached, query); ok {
		return image, nil
	}
	return Fetch(ctx, out, query)
}

// Fetch fetches the newest kernel that query names, unless the cache has it.
func Fetch(ctx context.Context, out io.Writer, query string) (Image, error) {
	f, err := newFetcher(ctx, out)
	if err != nil {
		return Image{}, err
	}
	return f.fetch(ctx, query)
}

// Available returns the versions that Debian has, oldest first.
func Available(ctx context.Context, out io.Writer) ([]string, error) {
	f, err := newFetcher(ctx, out)
	if err != nil {
		return nil, err
	}
	packages, err := f.packages(ctx, listsAge)
	var versions []string
	for _, p := range packages {
		versions = append(versions, p.version)
	}
	return versions, err
}

// The files of a kernel in the cache, in a directory named after its version.
const (
	cacheDir    = "kernels"
	imageFile   = "vmlinuz"
	packageFile = "package"
)

// Cached returns the kernels in the cache, oldest first.
func Cached() ([]Image, error) {
	root, err := cache.Dir(cacheDir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list cached kernels: %w", err)
	}
	var images []Image
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		name, err := os.ReadFile(filepath.Join(dir, packageFile))
		if errors.Is(err, os.ErrNotExist) {
			continue // a fetch that was interrupted
		} else if err != nil {
			return nil, fmt.Errorf("list cached kernels: %w", err)
		}
		images = append(images, Image{Version: e.Name(), Package: strings.TrimSpace(string(name)), File: filepath.Join(dir, imageFile)})
	}
	slices.SortFunc(images, func(a, b Image) int { return compareVersions(a.Version, b.Version) })
	return images, nil
}

func newest(images []Image, query string) (Image, bool) {
	for _, image := range slices.Backward(images) {
		if matches(image.Version, query) {
			return image, true
		}
	}
	return Image{}, false
}

// fetcher fetches kernels into the cache.
type fetcher struct {
	archive archive
	lists   string // the directory of package lists
	out     io.Writer
}

func newFetcher(ctx context.Context, out io.Writer) (fetcher, error) {
	dir, err := cache.Dir("apt")
	if err != nil {
		return fetcher{}, err
	}
	if _, err := os.Stat(apt.Keyring); err != nil {
		if err := apt.Ensure(ctx, out, apt.KeyringPackage); err != nil {
			return fetcher{}, fmt.Errorf("kernels are fetched from Debian (or name the file of one): %w", err)
		}
	}
	return fetcher{
		archive: apt.Archive{Dir: dir, Architecture: architecture, Sources: sources},
		lists:   filepath.Join(dir, "state", "lists"), out: out,
	}, nil
}
