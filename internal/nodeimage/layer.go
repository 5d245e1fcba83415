package nodeimage

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is a layer of an image, in a file, uncompressed: images built here
// never travel, and (de)compressing hundreds of MiB takes longer than all
// other steps of a warm build.
type layer struct {
	path string
	hash v1.Hash
	size int64
}

// openLayer returns the layer whose tar file is path.
func openLayer(path string) (*layer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return nil, err
	}
	return &layer{path, v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(hash.Sum(nil))}, size}, nil
}

func (l *layer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.DockerUncompressedLayer, nil }

// epoch is the time stamp of all that layers hold: equal contents make equal
// layers, which engines store once.
var epoch = time.Unix(0, 0)

// writer writes a layer. All of it belongs to root. Its paths are absolute and
// must go through no symbolic link of the layers below, whose links they would
// replace: /usr/sbin/init, not /sbin/init. The first error stays and is
// returned by close.
type writer struct {
	file *os.File
	tar  *tar.Writer
	dirs map[string]bool
	err  error
}

func createLayer(path string) *writer {
	file, err := os.Create(path)
	return &writer{file: file, tar: tar.NewWriter(file), dirs: map[string]bool{"/": true}, err: err}
}

// close returns the finished layer, or what went wrong while it was written.
func (w *writer) close() (*layer, error) {
	if w.err == nil {
		w.err = w.tar.Close()
	}
	if w.file != nil {
		if err := w.file.Close(); w.err == nil {
			w.err = err
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	return openLayer(w.file.Name())
}

// header writes h, and before it the directories that it lies in.
func (w *writer) header(h *tar.Header) {
	if parent := path.Dir(h.Name); !w.dirs[parent] {
		w.dir(parent, 0o755)
	}
	if w.err != nil {
		return
	}
	h.Name = strings.TrimPrefix(h.Name, "/")
	h.ModTime = epoch
	h.Format = tar.FormatPAX
	w.err = w.tar.WriteHeader(h)
}

func (w *writer) dir(name string, mode fs.FileMode) {
	w.dirs[name] = true
	w.header(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: int64(mode.Perm())})
}

func (w *writer) text(name, text string) {
	w.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))})
	if w.err == nil {
		_, w.err = io.WriteString(w.tar, text)
	}
}

func (w *writer) symlink(name, target string) {
	w.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

// copy copies the file at source.
func (w *writer) copy(name string, mode fs.FileMode, source string) {
	if w.err != nil {
		return
	}
	file, err := os.Open(source)
	if err != nil {
		w.err = err
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		w.err = err
		return
	}
	w.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode.Perm()), Size: info.Size()})
	if w.err == nil {
		_, w.err = io.Copy(w.tar, file)
	}
}

// tree copies directories, files and symbolic links below source to name,
// with their modes.
func (w *writer) tree(name, source string) {
	if w.err != nil {
		return
	}
	w.err = filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		to := path.Join(name, below)
		switch {
		case info.IsDir():
			w.dir(to, info.Mode())
		case info.Mode().IsRegular():
			w.copy(to, info.Mode(), file)
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			w.symlink(to, target)
		default:
			return fmt.Errorf("copy %s into the image: unexpected kind of file %v", file, info.Mode())
		}
		return w.err
	})
}
