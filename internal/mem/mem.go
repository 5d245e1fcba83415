// Package mem holds the units of memory that oomlab computes in. The kernel
// counts pages, Kubernetes counts bytes, and a limit may be absent, zero or
// "max": three types keep them from being mixed up as bare integers.
package mem

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is an amount of memory in bytes. Negative values are differences.
type Bytes int64

// Binary multiples, as Kubernetes spells them (Ki, Mi, Gi, Ti).
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

// Pages is an amount of memory in pages of the machine that counted them. It
// may be negative: badness is a signed number of pages.
type Pages int64

// Bytes returns p in bytes, for a machine whose pages are pageSize long.
func (p Pages) Bytes(pageSize Bytes) Bytes { return Bytes(p) * pageSize }

// Pages returns the number of whole pages in b, as the kernel's page counters
// round a limit: down.
func (b Bytes) Pages(pageSize Bytes) Pages { return Pages(b / pageSize) }

var units = []struct {
	suffix string
	size   Bytes
}{
	{"Ti", TiB}, {"Gi", GiB}, {"Mi", MiB}, {"Ki", KiB},
	{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3},
}

// String writes b as a Kubernetes quantity, in the largest binary unit that
// keeps it exact: "150Mi", "1536Ki", "1000".
func (b Bytes) String() string {
	for _, u := range units[:4] {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Human writes b with at most one decimal, for tables: "149.5Mi".
func (b Bytes) Human() string {
	abs := b
	if abs < 0 {
		abs = -abs
	}
	for _, u := range units[:4] {
		if abs >= u.size {
			s := strconv.FormatFloat(float64(b)/float64(u.size), 'f', 1, 64)
			return strings.TrimSuffix(s, ".0") + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// ErrQuantity is wrapped by every error of ParseBytes.
var ErrQuantity = errors.New("not an amount of memory")

// ParseBytes reads an amount of memory of at least zero, written as Kubernetes
// writes it: digits with an optional fraction, then Ki, Mi, Gi, Ti (powers of
// 1024), k, M, G, T (powers of 1000) or nothing (bytes). The exponent and
// milli forms of resource.Quantity are refused: nobody means them for memory.
func ParseBytes(s string) (Bytes, error) {
	number, size := s, Bytes(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			number, size = n, u.size
			break
		}
	}
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q: %w: write digits and a unit such as 150Mi or 2Gi", s, ErrQuantity)
	}
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
		if whole > math.MaxInt64/int64(size) {
			return 0, fmt.Errorf("%q: %w: larger than 8Ei", s, ErrQuantity)
		}
		return Bytes(whole) * size, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q: %w: write digits and a unit such as 150Mi or 2Gi", s, ErrQuantity)
	case f*float64(size) >= math.MaxInt64:
		return 0, fmt.Errorf("%q: %w: larger than 8Ei", s, ErrQuantity)
	}
	return Bytes(f * float64(size)), nil
}

// UnmarshalJSON reads a number of bytes or a quantity in a string.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		var n int64
		if err := json.Unmarshal(data, &n); err != nil {
			return fmt.Errorf("%s: %w: write digits and a unit such as 150Mi or 2Gi", data, ErrQuantity)
		}
		*b = Bytes(n)
		return nil
	}
	v, err := ParseBytes(s)
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// Limit is the upper bound of a memory cgroup. The zero value says that no
// limit is known; Max and zero bytes are both different from that.
type Limit struct {
	state limitState
	bytes Bytes
}

type limitState uint8

const (
	absent limitState = iota
	bounded
	unbounded
)

// Max is the limit of a cgroup that has none: "max" in cgroup v2, a number
// close to 2^63 in cgroup v1.
var Max = Limit{state: unbounded}

// LimitOf returns a limit of b bytes.
func LimitOf(b Bytes) Limit { return Limit{state: bounded, bytes: b} }

// Bytes returns the limit and true, or false where it is Max or absent.
func (l Limit) Bytes() (Bytes, bool) { return l.bytes, l.state == bounded }

// IsAbsent reports that nothing is known about the limit.
func (l Limit) IsAbsent() bool { return l.state == absent }

// IsMax reports that the cgroup is unlimited.
func (l Limit) IsMax() bool { return l.state == unbounded }

// v1Unlimited is the lowest value that cgroup v1 shows for "no limit": the
// largest number of pages a long can address (PAGE_COUNTER_MAX, in bytes), for
// pages of up to 64 KiB.
const v1Unlimited = math.MaxInt64 &^ (1<<16 - 1)

// ParseLimit reads memory.max, memory.high and the like (cgroup v2) or
// memory.limit_in_bytes (cgroup v1).
func ParseLimit(s string) (Limit, error) {
	s = strings.TrimSpace(s)
	if s == "max" {
		return Max, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return Limit{}, fmt.Errorf("%q is not a cgroup memory limit: want bytes or max", s)
	}
	if n >= v1Unlimited {
		return Max, nil
	}
	return LimitOf(Bytes(n)), nil
}

// String writes the limit as a quantity, "max", or "unknown".
func (l Limit) String() string {
	switch l.state {
	case bounded:
		return l.bytes.String()
	case unbounded:
		return "max"
	}
	return "unknown"
}

// MarshalJSON writes bytes, "max" or null.
func (l Limit) MarshalJSON() ([]byte, error) {
	switch l.state {
	case bounded:
		return json.Marshal(int64(l.bytes))
	case unbounded:
		return []byte(`"max"`), nil
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads what MarshalJSON writes, and quantities such as "2Gi".
func (l *Limit) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "null":
		*l = Limit{}
		return nil
	case `"max"`:
		*l = Max
		return nil
	}
	var b Bytes
	if err := json.Unmarshal(data, &b); err != nil {
		return err
	}
	*l = LimitOf(b)
	return nil
}
