package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/proc"
)

// Debian is where a node's userland comes from. bookworm has systemd 252, the
// last of Debian's that boots under cgroup v1 as well as v2; Debian's archive
// key, not the transport, vouches for the packages.
const (
	debianSuite  = "bookworm"
	debianMirror = "http://deb.debian.org/debian"
)

// debianPackages are those that kind's Dockerfile lists, without what only
// network storage, rootless nodes and preflight checks need.
var debianPackages = []string{
	// systemd, and what runs before it: kind's entrypoint
	"systemd", "mount", "iptables", "iproute2", "procps",
	// the kubelet, containerd and runc, and the OCI hook of kind (jq)
	"conntrack", "kmod", "libseccomp2", "ca-certificates", "bash", "jq",
	// says that /usr is merged without pulling in perl to merge it
	"usr-is-merged",
}

// debianExcluded is what no node reads.
var debianExcluded = []string{
	"/usr/share/doc/*", "/usr/share/info/*", "/usr/share/man/*", "/usr/share/lintian/*",
	"/usr/share/locale/*", "/usr/share/i18n/*", "/usr/share/bash-completion/*",
}

// debianRemoved are, as in kind's Dockerfile, the units that make no sense in
// a container: all that packages enabled, udev, and the tmpfiles setup that
// would fight with the mounts of the container.
var debianRemoved = []string{
	"/usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
	"/usr/lib/systemd/system/multi-user.target.wants/*",
	"/etc/systemd/system/*.wants/*",
	"/usr/lib/systemd/system/local-fs.target.wants/*",
	"/usr/lib/systemd/system/sockets.target.wants/*udev*",
	"/usr/lib/systemd/system/sockets.target.wants/*initctl*",
	"/usr/lib/systemd/system/basic.target.wants/*",
	// caches and logs that the installation left
	"/var/cache/debconf/*-old", "/var/lib/dpkg/*-old", "/var/log/*.log", "/var/log/apt",
}

// mmdebstrapArgs returns the arguments that write the userland to target, a
// tar file.
func mmdebstrapArgs(target string) []string {
	args := []string{
		"--mode=root",
		"--variant=essential", // without apt: nothing is installed later
		"--format=tar",
		"--include=" + strings.Join(debianPackages, ","),
		"--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
		"--dpkgopt=force-unsafe-io", // an interrupted build is thrown away whole
	}
	for _, pattern := range debianExcluded {
		args = append(args, "--dpkgopt=path-exclude="+pattern)
	}
	for _, pattern := range debianRemoved {
		args = append(args, `--customize-hook=rm -rf "$1"`+pattern)
	}
	return append(args, debianSuite, target, debianMirror)
}

// debian returns the tar file of the userland, which all images share.
func debian(ctx context.Context, out io.Writer) (string, error) {
	const file = "root.tar"
	sum := sha256.Sum256([]byte(strings.Join(mmdebstrapArgs(file), "\n")))
	dir, err := cache.Once(ctx, out, func(dir string) error {
		if err := apt.Ensure(ctx, out, "mmdebstrap", "debian-archive-keyring"); err != nil {
			return err
		}
		start := time.Now()
		_, _ = fmt.Fprintf(out, "installing Debian %s packages\n", debianSuite)
		// It mounts the host's /proc, /sys and devices into its tree.
		cmd := proc.Isolated(ctx, "mmdebstrap", mmdebstrapArgs(filepath.Join(dir, file))...)
		// Where mmdebstrap is killed, its tree is swept with ours.
		cmd.Env = append(os.Environ(), "TMPDIR="+dir, "LC_ALL=C")
		if err := proc.Run(cmd); err != nil {
			return fmt.Errorf("install Debian packages (check that %s is reachable; apt's proxy settings are used): %w", debianMirror, err)
		}
		_, _ = fmt.Fprintf(out, "installed Debian %s packages in %s\n", debianSuite, time.Since(start).Round(time.Second))
		return nil
	}, "debian", debianSuite+"-"+hex.EncodeToString(sum[:6]))
	return filepath.Join(dir, file), err
}
