package apt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Archive is a view of Debian's archives with sources, lists and downloads of
// its own below Dir: nothing of it touches what this machine has installed, or
// its sources. The archives' signatures are verified with Debian's keys.
type Archive struct {
	Dir string
	// Architecture is that of the packages, such as amd64.
	Architecture string
	// Sources are lines of sources.list without type and options:
	// "http://deb.debian.org/debian trixie main".
	Sources []string
}

// Keyring is the file of Debian's keys, and KeyringPackage where it is from.
const (
	Keyring        = "/usr/share/keyrings/debian-archive-keyring.gpg"
	KeyringPackage = "debian-archive-keyring"
)

// Update fetches the lists of packages. An archive that can't be reached is an
// error, and the lists of the others are there all the same.
func (a Archive) Update(ctx context.Context) error {
	for _, dir := range []string{"etc/preferences.d", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.Dir, dir), 0o755); err != nil {
			return fmt.Errorf("make room for package lists: %w", err)
		}
	}
	var sources strings.Builder
	for _, s := range a.Sources {
		fmt.Fprintf(&sources, "deb [arch=%s signed-by=%s target=Packages] %s\n", a.Architecture, Keyring, s)
	}
	if err := os.WriteFile(filepath.Join(a.Dir, "etc/sources.list"), []byte(sources.String()), 0o644); err != nil {
		return fmt.Errorf("write sources.list: %w", err)
	}
	_, err := run(ctx, a.args("apt-get", "update", "--quiet")...)
	return err
}

// Names returns the names of all packages with this prefix, as of the last
// Update.
func (a Archive) Names(ctx context.Context, prefix string) ([]string, error) {
	out, err := run(ctx, a.args("apt-cache", "pkgnames", prefix)...)
	return strings.Fields(out), err
}

// Download fetches a package into dir and returns its file. What was fetched is
// what the signed lists say, or it is an error.
func (a Archive) Download(ctx context.Context, dir, name string) (file string, err error) {
	argv := a.args("apt-get", "download", "--quiet", name)
	if _, err := runIn(ctx, dir, argv...); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("download %s: want one file in %s, found %q", name, dir, files)
	}
	return files[0], nil
}

// Unpack unpacks a package's files below dir, and installs nothing.
func (Archive) Unpack(ctx context.Context, file, dir string) error {
	_, err := run(ctx, "dpkg-deb", "--extract", file, dir)
	return err
}

// args adds to a command what keeps it within a.Dir. The machine's settings of
// proxies hold.
func (a Archive) args(command ...string) []string {
	return slices.Concat(command[:1], []string{
		"-o", "Dir::State=" + filepath.Join(a.Dir, "state"),
		"-o", "Dir::Cache=" + filepath.Join(a.Dir, "cache"),
		"-o", "Dir::Etc=" + filepath.Join(a.Dir, "etc"),
		"-o", "Dir::Etc::SourceParts=-",
		"-o", "APT::Architecture=" + a.Architecture,
		"-o", "APT::Architectures=" + a.Architecture,
		"-o", "Acquire::Languages=none",
		// Who calls owns the directory; _apt may not even enter it.
		"-o", "APT::Sandbox::User=root",
	}, command[1:])
}
