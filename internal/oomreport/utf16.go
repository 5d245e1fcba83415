package oomreport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Reader turns UTF-16, which PowerShell writes with its > operator, into
// UTF-8.
type utf16Reader struct {
	r     *bufio.Reader
	order binary.ByteOrder
	out   []byte // decoded and not yet read
	err   error
}

// decode returns a reader of UTF-8 for a log that begins with a byte order mark
// of UTF-16, and else the log as it is.
func decode(r io.Reader) io.Reader {
	buffered := bufio.NewReader(r)
	mark, err := buffered.Peek(2)
	if err != nil { // too short, or the reader fails: it will again
		return buffered
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if order.Uint16(mark) == 0xfeff {
			return &utf16Reader{r: buffered, order: order}
		}
	}
	return buffered
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) < len(p) && u.err == nil {
		var c rune
		if c, u.err = u.unit(); u.err != nil {
			break
		}
		if utf16.IsSurrogate(c) {
			var low rune
			low, u.err = u.unit()
			c = utf16.DecodeRune(c, low)
		}
		u.out = utf8.AppendRune(u.out, c)
	}
	n := copy(p, u.out)
	u.out = u.out[:copy(u.out, u.out[n:])]
	if n > 0 {
		return n, nil
	}
	return 0, u.err
}

func (u *utf16Reader) unit() (rune, error) {
	var b [2]byte
	if _, err := io.ReadFull(u.r, b[:]); errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, io.EOF // half a character
	} else if err != nil {
		return 0, err
	}
	return rune(u.order.Uint16(b[:])), nil
}
