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
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/cache"
)

// names are as Debian has them.
var names = strings.Fields(`
	linux-image-5.10.0-9-cloud-amd64 linux-image-5.10.0-46-cloud-amd64 linux-image-5.10.0-46-cloud-amd64-unsigned
	linux-image-6.1.0-0.deb11.52-cloud-amd64 linux-image-6.1.0-50-cloud-amd64 linux-image-6.1.0-50-amd64
	linux-image-6.12.95+deb12-cloud-amd64 linux-image-6.12.117+deb13-cloud-amd64 linux-image-6.12.117+deb13-cloud-amd64-dbg
	linux-image-cloud-amd64 linux-image-6.1-cloud-amd64-dbg
	linux-image-7.3.4+deb13-cloud-amd64 linux-binary-7.3.4+deb13-cloud-amd64
	linux-binary-unsigned-7.3.5+deb13-cloud-amd64`)

func TestKernelPackages(t *testing.T) {
	want := []pkg{
		{"linux-image-5.10.0-9-cloud-amd64", "5.10.0-9"},
		{"linux-image-5.10.0-46-cloud-amd64", "5.10.0-46"},
		{"linux-image-6.1.0-0.deb11.52-cloud-amd64", "6.1.0-0.deb11.52"},
		{"linux-image-6.1.0-50-cloud-amd64", "6.1.0-50"},
		{"linux-image-6.12.95+deb12-cloud-amd64", "6.12.95+deb12"},
		{"linux-image-6.12.117+deb13-cloud-amd64", "6.12.117+deb13"},
		{"linux-binary-7.3.4+deb13-cloud-amd64", "7.3.4+deb13"},
	}
	for range 10 { // in whatever order they come
		if diff := cmp.Diff(want, kernelPackages(names), cmp.AllowUnexported(pkg{})); diff != "" {
			t.Fatalf("packages (-want +got):\n%s", diff)
		}
		names = append(names[1:], names[0])
	}
	if diff := cmp.Diff([]string{"5.10", "6.1", "6.12", "7.3"}, seriesOf(want)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		version, query string
		want           bool
	}{
		{"6.12.117+deb13", "6.12", true},
		{"6.12.117+deb13", "6.12.117", true},
		{"6.12.117+deb13", "6.12.117+deb13", true},
		{"6.12.117+deb13", "6.1", false},
		{"6.12.117+deb13", "6.12.11", false},
		{"5.10.0-46", "5.10.0-4", false},
		{"5.10.0-46", "", false},
	} {
		if got := matches(tt.version, tt.query); got != tt.want {
			t.Errorf("matches(%q, %q) = %t", tt.version, tt.query, got)
		}
	}
}

// fake is an archive whose packages hold their own name.
type fake struct {
	names     []string
	updates   int
	updateErr error
	download  error
	dir       string // of the lists
	later     []string
}

func (f *fake) Update(context.Context) error {
	f.updates++
	if f.later != nil {
		f.names = f.later
	}
	return errors.Join(f.updateErr, os.MkdirAll(f.dir, 0o755))
}

func (f *fake) Names(_ context.Context, prefix string) (some []string, _ error) {
	for _, n := range f.names {
		if strings.HasPrefix(n, prefix) {
			some = append(some, n)
		}
	}
	return some, nil
}

func (f *fake) Download(_ context.Context, dir, name string) (string, error) {
	if !slices.Contains(f.names, name) {
		return "", fmt.Errorf("no package %s", name)
	}
	return filepath.Join(dir, name+"_1_amd64.deb"), f.download
}

func (f *fake) Unpack(_ context.Context, file, dir string) error {
	to := filepath.Join(dir, "boot", "vmlinuz-1")
	if strings.Contains(file, "linux-binary") {
		to = filepath.Join(dir, "usr", "lib", "modules", "1", "vmlinuz")
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, []byte(filepath.Base(file)), 0o644))
}

func newFake(t *testing.T) (*fake, fetcher) {
	t.Helper()
	t.Setenv(cache.Env, t.TempDir())
	f := &fake{names: names, dir: t.TempDir() + "/lists"}
	return f, fetcher{archive: f, lists: f.dir, out: io.Discard}
}

func TestFetchPutsTheNewestIntoTheCache(t *testing.T) {
	for query, want := range map[string]Image{
		"5.10":  {Version: "5.10.0-46", Package: "linux-image-5.10.0-46-cloud-amd64"},
		"6.12":  {Version: "6.12.117+deb13", Package: "linux-image-6.12.117+deb13-cloud-amd64"},
		"7.3.4": {Version: "7.3.4+deb13", Package: "linux-binary-7.3.4+deb13-cloud-amd64"},
	} {
		archive, f := newFake(t)
		got, err := f.fetch(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(got.File)
		if err != nil || string(content) != want.Package+"_1_amd64.deb" {
			t.Errorf("%s: the file holds %q, %v", query, content, err)
		}
		want.File = got.File
		if got != want {
			t.Errorf("%s: %+v, want %+v", query, got, want)
		}
		cached, err := Cached()
		if diff := cmp.Diff([]Image{want}, cached); diff != "" || err != nil {
			t.Errorf("cached (-want +got), %v:\n%s", err, diff)
		}
		// What is in the cache is found without the archive.
		archive.names, archive.updates = nil, 0
		if found, err := Find(t.Context(), io.Discard, query); err != nil || found != want || archive.updates > 0 {
			t.Errorf("Find: %+v, %v", found, err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(got.File), "work*")); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
}

func TestFetchSaysWhatThereIs(t *testing.T) {
	_, f := newFake(t)
	_, err := f.fetch(t.Context(), "5.4")
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `no "5.4", but 5.10, 6.1, 6.12, 7.3`) {
		t.Errorf("error %v", err)
	}
}

func TestFetchLooksAgainWhereListsAreOld(t *testing.T) {
	archive, f := newFake(t)
	if _, err := f.fetch(t.Context(), "5.10"); err != nil {
		t.Fatal(err)
	}
	archive.later = append(slices.Clone(names), "linux-image-8.0.1+deb14-cloud-amd64")
	if _, err := f.fetch(t.Context(), "8.0"); !errors.Is(err, ErrNotFound) || archive.updates != 1 {
		t.Errorf("lists that were just fetched: error %v, %d updates", err, archive.updates)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(archive.dir, old, old); err != nil {
		t.Fatal(err)
	}
	if image, err := f.fetch(t.Context(), "8.0"); err != nil || image.Version != "8.0.1+deb14" {
		t.Errorf("%+v, %v", image, err)
	}
}

func TestFetchWithoutASuite(t *testing.T) {
	archive, f := newFake(t)
	archive.updateErr = errors.New("E: Failed to fetch bullseye")
	if _, err := f.fetch(t.Context(), "6.12"); err != nil {
		t.Errorf("another suite has it: %v", err)
	}
	archive, f = newFake(t)
	archive.names, archive.updateErr = nil, errors.New("E: Temporary failure resolving")
	if _, err := f.fetch(t.Context(), "6.12"); err == nil || !strings.Contains(err.Error(), "Temporary failure resolving") || errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want apt's own", err)
	}
	if _, err := os.Stat(archive.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a list is left (%v)", err)
	}
}

func TestFetchOnAFullDisk(t *testing.T) {
	for _, full := range []error{
		syscall.ENOSPC, errors.New("E: write - write (28: No space left on device)"),
		errors.New("E: You don't have enough free space in /x/"),
	} {
		archive, f := newFake(t)
		archive.download = full
		_, err := f.fetch(t.Context(), "6.12")
		if err == nil || !strings.Contains(err.Error(), cache.Env) || archive.updates != 1 {
			t.Errorf("error %v, want what to do, at once", err)
		}
		root, dirErr := cache.Dir(cacheDir)
		left, readErr := os.ReadDir(root)
		if len(left) > 0 || dirErr != nil || readErr != nil {
			t.Errorf("left %v, %v, %v", left, dirErr, readErr)
		}
	}
}
