package nodeimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// listing reads a layer back: one line per entry.
func listing(t *testing.T, l *layer) []string {
	t.Helper()
	content, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var lines []string
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(epoch) {
			t.Errorf("%s belongs to %d:%d and is of %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%c %04o %s %s%s", h.Typeflag, h.Mode, h.Name, h.Linkname, text))
	}
}

func TestLayer(t *testing.T) {
	source := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(source, "sub"), 0o700),
		os.WriteFile(filepath.Join(source, "sub", "file"), []byte("text"), 0o640),
		os.Symlink("sub/file", filepath.Join(source, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(path string) *layer {
		w := createLayer(path)
		w.text("/kind/version", "v1.37.2")
		w.copy("/usr/bin/kubelet", 0o755, filepath.Join(source, "sub", "file"))
		w.symlink("/usr/bin/kubeadm", "kubelet")
		w.tree("/var/lib/containerd", source)
		l, err := w.close()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first, again := write(filepath.Join(t.TempDir(), "1.tar")), write(filepath.Join(t.TempDir(), "2.tar"))
	want := []string{
		"5 0755 kind ",
		"0 0644 kind/version v1.37.2",
		"5 0755 usr ",
		"5 0755 usr/bin ",
		"0 0755 usr/bin/kubelet text",
		"2 0777 usr/bin/kubeadm kubelet",
		"5 0755 var ",
		"5 0755 var/lib ",
		"5 0755 var/lib/containerd ",
		"2 0777 var/lib/containerd/link sub/file",
		"5 0700 var/lib/containerd/sub ",
		"0 0640 var/lib/containerd/sub/file text",
	}
	if diff := cmp.Diff(want, listing(t, first)); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
	if first.hash != again.hash {
		t.Error("equal contents made different layers")
	}
	image, err := newImage(v1.Config{Entrypoint: []string{"/usr/bin/kubelet"}}, first)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]v1.Hash{first.hash}, config.RootFS.DiffIDs); diff != "" {
		t.Errorf("layers of the image (-want +got):\n%s", diff)
	}
}

func TestLayerKeepsTheFirstError(t *testing.T) {
	w := createLayer(filepath.Join(t.TempDir(), "layer.tar"))
	w.copy("/bin/gone", 0o755, filepath.Join(t.TempDir(), "gone"))
	w.text("/fine", "fine")
	w.tree("/tree", t.TempDir())
	if _, err := w.close(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := createLayer(filepath.Join(t.TempDir(), "no", "layer.tar")).close(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v, want %v", err, fs.ErrNotExist)
	}
}

func TestConcatenate(t *testing.T) {
	dir := t.TempDir()
	var layers []*layer
	for _, text := range []string{"lower", "upper"} {
		w := createLayer(filepath.Join(dir, text))
		w.text("/etc/"+text, text)
		w.text("/etc/both", text)
		l, err := w.close()
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	var whole bytes.Buffer
	if err := concatenate(&whole, layers); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "whole")
	if err := os.WriteFile(path, whole.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := openLayer(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"5 0755 etc ", "0 0644 etc/lower lower", "0 0644 etc/both lower",
		"5 0755 etc ", "0 0644 etc/upper upper", "0 0644 etc/both upper",
	}
	if diff := cmp.Diff(want, listing(t, l)); diff != "" {
		t.Errorf("root file system (-want +got):\n%s", diff)
	}
}
