package vmlab

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteInitramfs(t *testing.T) {
	files := []file{
		{"job.json", 0o644, []byte("{}")},
		{"init", 0o755, bytes.Repeat([]byte("x"), 4097)},
		{"empty", 0o600, nil},
	}
	var b bytes.Buffer
	if err := writeInitramfs(&b, files); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, readInitramfs(t, b.Bytes()), cmp.AllowUnexported(file{})); diff != "" {
		t.Errorf("the kernel would unpack something else:\n%s", diff)
	}
}

// readInitramfs reads as the kernel's init/initramfs.c does: everything is
// aligned to 4 bytes, names end in a zero byte, sizes are hexadecimal.
func readInitramfs(t *testing.T, archive []byte) (files []file) {
	t.Helper()
	at := 0
	next := func(n int) []byte {
		if at+n > len(archive) {
			t.Fatalf("the archive ends at %d, before %d more bytes", len(archive), n)
		}
		part := archive[at : at+n]
		at += n
		return part
	}
	align := func() { at = (at + 3) &^ 3 }
	for {
		var fields [13]int
		header := next(110)
		if string(header[:6]) != "070701" {
			t.Fatalf("magic number %q at %d", header[:6], at-110)
		}
		for i := range fields {
			if _, err := fmt.Sscanf(string(header[6+8*i:14+8*i]), "%X", &fields[i]); err != nil {
				t.Fatalf("field %d of %q: %v", i, header, err)
			}
		}
		mode, size, nameSize := fields[1], fields[6], fields[11]
		name := next(nameSize)
		if name[nameSize-1] != 0 {
			t.Fatalf("the name %q does not end in a zero byte", name)
		}
		align()
		if string(name[:nameSize-1]) == cpioTrailer {
			return files
		}
		if mode&0o170000 != regularFile {
			t.Errorf("%s: mode %o is no regular file", name, mode)
		}
		data := bytes.Clone(next(size))
		if size == 0 {
			data = nil
		}
		align()
		files = append(files, file{string(name[:nameSize-1]), uint32(mode & 0o777), data})
	}
}
