package kernelimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/apt"
	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/proc"
)

// Modules are the modules of a kernel, unpacked and with their dependencies
// known to modprobe.
type Modules struct {
	// Dir holds one directory, named after the kernel's release.
	Dir string
}

// modulesDropped are drivers of hardware that no virtual machine here has. What
// modulesKept names, files and directories, stays.
var (
	modulesDropped = []string{"kernel/drivers", "kernel/sound"}
	modulesKept    = []string{"kernel/drivers/block/virtio_blk.ko", "kernel/drivers/net/veth.ko", "kernel/drivers/virtio/"}
)

// FetchModules returns the modules of a kernel that came from Debian, without
// drivers. It fetches the kernel's package once more, and its modules', where
// Debian has them apart.
func FetchModules(ctx context.Context, out io.Writer, image Image) (Modules, error) {
	f, err := newFetcher(ctx, out)
	if err != nil {
		return Modules{}, err
	}
	if err := apt.Ensure(ctx, out, "kmod", "xz-utils"); err != nil {
		return Modules{}, fmt.Errorf("unpack the modules of kernel %s: %w", image.Version, err)
	}
	selection := sha256.Sum256(fmt.Append(nil, modulesDropped, modulesKept))
	dir, err := cache.Once(ctx, out, func(dir string) error { return f.fillModules(ctx, dir, image) },
		"modules", fmt.Sprintf("%s-%x", image.Version, selection[:4]))
	if err != nil {
		return Modules{}, fmt.Errorf("fetch the modules of kernel %s: %w", image.Version, hint(err))
	}
	return Modules{Dir: filepath.Join(dir, "lib", "modules")}, nil
}

// modulesPackages returns the packages with a kernel's modules: its own, and
// the one of modules alone where Debian has that, as from 7.2 on. names are the
// packages that there are.
func modulesPackages(image Image, names []string) []string {
	packages := []string{image.Package}
	apart := "linux-modules-" + strings.TrimPrefix(image.Package, "linux-binary-")
	if slices.Contains(names, apart) {
		packages = append(packages, apart)
	}
	return packages
}

func (f fetcher) fillModules(ctx context.Context, dir string, image Image) error {
	_, _ = fmt.Fprintf(f.out, "fetching the modules of %s\n", image.Package)
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	tree := filepath.Join(work, "tree")
	names, err := f.archive.Names(ctx, "linux-modules-")
	if err != nil {
		return err
	}
	for _, name := range modulesPackages(image, names) {
		file, err := f.archive.Download(ctx, work, name)
		if err != nil {
			return err
		}
		if err := f.archive.Unpack(ctx, file, tree); err != nil {
			return err
		}
	}
	var found []string
	for _, pattern := range []string{"lib/modules/*/kernel", "usr/lib/modules/*/kernel"} {
		some, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			return err
		}
		found = append(found, some...)
	}
	if len(found) != 1 {
		return fmt.Errorf("%s: want the modules of one kernel in it, found %d", image.Package, len(found))
	}
	release := filepath.Base(filepath.Dir(found[0]))
	target := filepath.Join(dir, "lib", "modules", release)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.Rename(filepath.Dir(found[0]), target); err != nil {
		return err
	}
	if err := prepareModules(ctx, target); err != nil {
		return err
	}
	if err := proc.Run(proc.Command(ctx, "depmod", "--basedir", dir, release)); err != nil {
		return err
	}
	return os.RemoveAll(work)
}

// prepareModules drops what is not needed, and unpacks the rest: an emulated
// processor would take minutes to.
func prepareModules(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, dir+"/"), ".xz")
		switch {
		case dropped(name):
			return os.Remove(path)
		case strings.HasSuffix(path, ".ko.xz"):
			return proc.Run(proc.Command(ctx, "xz", "--decompress", path))
		}
		return nil
	})
}

// dropped reports whether a module is left out: name is its path below the
// release's directory.
func dropped(name string) bool {
	for _, kept := range modulesKept {
		if name == kept || strings.HasSuffix(kept, "/") && strings.HasPrefix(name, kept) {
			return false
		}
	}
	for _, dir := range modulesDropped {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// Load returns the files of the named modules and of what they depend on, in
// the order in which they have to be loaded. What is built into the kernel is
// left out; not every package says what that is (modules.builtin), and then what
// has no file is taken for it.
func (m Modules) Load(names ...string) ([]string, error) {
	files, builtIn := map[string]string{}, map[string]bool{}
	err := filepath.WalkDir(m.Dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[moduleName(name)] = path
		}
		if filepath.Base(path) != "modules.builtin" {
			return nil
		}
		list, err := os.ReadFile(path)
		for line := range strings.Lines(string(list)) {
			builtIn[moduleName(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko"))] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find modules: %w", err)
	}
	var order []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if seen[name] || builtIn[name] {
			return nil
		}
		path, ok := files[name]
		if !ok && len(builtIn) == 0 {
			return nil
		}
		if !ok {
			return fmt.Errorf("find modules: %s is neither in the kernel nor below %s: use another kernel, oomlab kernel ls lists them", name, m.Dir)
		}
		seen[name] = true
		needs, err := moduleDepends(path)
		if err != nil {
			return err
		}
		for _, need := range needs {
			if err := add(need); err != nil {
				return err
			}
		}
		order = append(order, path)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName is a module's name in the kernel, where a file may have a hyphen.
func moduleName(file string) string { return strings.ReplaceAll(file, "-", "_") }

// moduleDepends reads what a module says that it depends on.
func moduleDepends(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", filepath.Base(path), err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read module %s: %w", filepath.Base(path), errors.New("it has no .modinfo"))
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", filepath.Base(path), err)
	}
	return dependsOf(info), nil
}

// dependsOf reads the section .modinfo: NAME=VALUE, each with a zero byte at
// its end.
func dependsOf(info []byte) []string {
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if value, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(value) > 0 {
			return strings.Split(string(value), ",")
		}
	}
	return nil
}
