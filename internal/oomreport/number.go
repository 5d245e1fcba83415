package oomreport

import (
	"math"
	"strconv"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// value returns the text between key and the next ", " or the end.
func value(s, key string) (string, bool) {
	_, v, ok := strings.Cut(s, key)
	if !ok {
		return "", false
	}
	v, _, _ = strings.Cut(v, ", ")
	return strings.TrimSpace(v), true
}

// number returns the decimal number right after key.
func number[T int | int64 | uint32 | uint64](s, key string) (T, bool) {
	i := strings.Index(s, key)
	if i < 0 {
		return 0, false
	}
	text := s[i+len(key):]
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 0 && text[end] == '-') {
		end++
	}
	return parse[T](text[:end])
}

func parse[T int | int64 | uint32 | uint64](s string) (T, bool) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && uint64(T(n)) == n && T(n) >= 0 {
		return T(n), true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return T(n), err == nil && int64(T(n)) == n && (T(n) < 0) == (n < 0)
}

// kib returns the number of KiB right after key, in bytes. Kernels before 3.19
// print sizes that do not fit in 63 bits of bytes: these are the largest size.
func kib(s, key string) (mem.Bytes, bool) {
	i := strings.Index(s, key)
	n, ok := number[uint64](s, key)
	if !ok {
		return 0, false
	}
	unit := strings.TrimLeft(s[i+len(key):], "0123456789")
	if !strings.HasPrefix(unit, "kB") && !strings.HasPrefix(unit, "KB") {
		return 0, false
	}
	if n > math.MaxInt64/1024 {
		return math.MaxInt64, true
	}
	return mem.Bytes(n) * mem.KiB, true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
