package oomreport

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

func TestUTF16(t *testing.T) {
	const text = "\ufeffgrün 𝄞 oom\n"
	for name, order := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		var log []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			log = order.AppendUint16(log, unit)
		}
		for _, r := range []io.Reader{bytes.NewReader(log), iotest.OneByteReader(bytes.NewReader(log)), bytes.NewReader(append(log, 7))} {
			if got, err := io.ReadAll(decode(r)); string(got) != text || err != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
	for _, plain := range []string{"", "x", "oom\n", "\xff"} {
		if got, err := io.ReadAll(decode(bytes.NewReader([]byte(plain)))); string(got) != plain || err != nil {
			t.Errorf("%q became %q, %v", plain, got, err)
		}
	}
	if _, err := io.ReadAll(decode(iotest.ErrReader(io.ErrNoProgress))); err == nil {
		t.Error("the reader's error is lost")
	}
}
