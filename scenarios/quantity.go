package scenarios

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// The three quantities of a scenario file keep what was wrong with them until
// Validate asks, so that a file's errors are reported all at once and each with
// its place, which a decoder that stops at the first one cannot do.

// Memory is an amount of memory, written "150Mi".
type Memory struct {
	mem.Bytes
	err error
}

// CPU is a number of CPUs, written "200m" or "2", in thousandths.
type CPU struct {
	Millicores int64
	err        error
}

// Duration is a time.Duration, written "10s".
type Duration struct {
	time.Duration
	err error
}

// MemoryOf returns b as a scenario writes it.
func MemoryOf(b mem.Bytes) *Memory { return &Memory{Bytes: b} }

// UnmarshalJSON never fails: Validate reports the error.
func (m *Memory) UnmarshalJSON(data []byte) error {
	m.err = m.Bytes.UnmarshalJSON(data)
	return nil
}

// MarshalJSON writes a quantity.
func (m Memory) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

// UnmarshalJSON never fails: Validate reports the error.
func (c *CPU) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if milli, ok := strings.CutSuffix(s, "m"); ok {
		if c.Millicores, c.err = strconv.ParseInt(milli, 10, 64); c.err == nil && c.Millicores >= 0 {
			return nil
		}
	} else if cpus, err := strconv.ParseFloat(s, 64); err == nil && cpus >= 0 && cpus < 1e6 {
		c.Millicores = int64(cpus * 1000)
		return nil
	}
	c.err = fmt.Errorf("%q is not a number of CPUs: write 200m or 2", s)
	return nil
}

// MarshalJSON writes millicores.
func (c CPU) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// String writes c as Kubernetes does: "200m".
func (c CPU) String() string { return strconv.FormatInt(c.Millicores, 10) + "m" }

// UnmarshalJSON never fails: Validate reports the error.
func (d *Duration) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if d.Duration, d.err = time.ParseDuration(s); d.err != nil || d.Duration < 0 {
		d.err = fmt.Errorf("%q is not a duration: write 10s or 2m", s)
	}
	return nil
}

// MarshalJSON writes the duration as time.Duration does.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }
