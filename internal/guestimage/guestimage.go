// Package guestimage makes the disks of virtual machines that run the
// end-to-end suite: Debian with docker, whose storage has the node image, and
// what differs from run to run on a second disk. Nothing of Debian's is
// installed on this machine but the programs that make the disks, and no
// container engine is needed on it.
package guestimage

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/proc"
)

// The Debian release of the guest, and where it comes from. Its key, not the
// transport, vouches for the packages.
const (
	debianSuite  = "trixie"
	debianMirror = "http://deb.debian.org/debian"
)

// debianPackages are docker and what its containers and the suite need. Debian
// merely recommends docker's own command line.
var debianPackages = []string{"docker.io", "docker-cli", "iptables", "iproute2", "kmod", "ca-certificates", "procps", "mount"}

const (
	// rootSize is what the guest can write to, sparse here: the nodes' file
	// systems and their /var.
	rootSize = 12 * mem.GiB
	rootFile = "root.ext4"
)

//go:embed load.sh
var loadScript string

// Root returns the file of a disk with the root file system: Debian with
// docker, in whose storage is the node image of r. It is made once for what it
// is made of, and must not be changed.
func Root(ctx context.Context, out io.Writer, r nodeimage.Recipe) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("a guest's disk can only be made by root: run with sudo")
	}
	r = r.WithDefaults()
	identity := sha256.Sum256([]byte(strings.Join(append(mmdebstrapArgs("tree"), loadScript, r.Ref()), "\n")))
	dir, err := cache.Once(ctx, out, func(dir string) error { return fillRoot(ctx, out, dir, r) },
		"guest", fmt.Sprintf("%s-%x", debianSuite, identity[:6]))
	return filepath.Join(dir, rootFile), err
}

func fillRoot(ctx context.Context, out io.Writer, dir string, r nodeimage.Recipe) error {
	if err := apt.Ensure(ctx, out, "mmdebstrap", apt.KeyringPackage, "e2fsprogs"); err != nil {
		return err
	}
	start := time.Now()
	_, _ = fmt.Fprintf(out, "installing Debian %s with docker in a directory\n", debianSuite)
	tree := filepath.Join(dir, "tree")
	bootstrap := proc.Isolated(ctx, "mmdebstrap", mmdebstrapArgs(tree)...)
	bootstrap.Env = append(os.Environ(), "TMPDIR="+dir, "LC_ALL=C")
	if err := proc.Run(bootstrap); err != nil {
		return fmt.Errorf("install Debian packages (check that %s is reachable; apt's proxy settings are used): %w", debianMirror, err)
	}
	if err := nodeimage.Archive(ctx, r, out, func(archive string) error { return load(ctx, tree, archive) }); err != nil {
		return err
	}
	// It is made where its mounts are, and they are not there any more.
	if err := MakeDisk(ctx, filepath.Join(dir, rootFile), tree, rootSize); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "the guest's disk is ready after %s\n", time.Since(start).Round(time.Second))
	return os.RemoveAll(tree)
}

// load puts an image into the storage of the tree's own docker, whose daemon
// runs meanwhile in namespaces of its own, without a network, and starts no
// container. All that it mounts and starts ends with them.
func load(ctx context.Context, tree, archive string) error {
	if err := proc.Run(proc.Isolated(ctx, "sh", "-ec", loadScript, "load", tree, archive)); err != nil {
		return fmt.Errorf("load the node image into the guest's docker: %w", err)
	}
	return nil
}

func mmdebstrapArgs(target string) []string {
	args := []string{
		"--mode=root", "--variant=minbase", "--format=directory",
		"--include=" + strings.Join(debianPackages, ","),
		"--dpkgopt=force-unsafe-io", // an interrupted build is thrown away whole
		// They would be this machine's.
		`--customize-hook=echo oomlab > "$1/etc/hostname"; : > "$1/etc/resolv.conf"`,
		`--customize-hook=mkdir -p "$1/oomlab" "$1/usr/lib/modules"`,
	}
	for _, pattern := range []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"} {
		args = append(args, "--dpkgopt=path-exclude="+pattern)
	}
	return append(args, debianSuite, target, debianMirror)
}

// MakeDisk makes a file with an ext4 file system of that size, and in it what
// the directory tree has. It is sparse.
func MakeDisk(ctx context.Context, file, tree string, size mem.Bytes) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	if err := errors.Join(f.Truncate(int64(size)), f.Close()); err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	// A journal is for what outlives its machine.
	if err := proc.Run(proc.Command(ctx, "mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", tree, file)); err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	return nil
}
