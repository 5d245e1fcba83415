package mem

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]Bytes{
		"0": 0, "1000": 1000, "1k": 1000, "1Ki": 1024, "150Mi": 150 * MiB,
		"1.5Gi": 1536 * MiB, "2G": 2e9, "0.5Ti": 512 * GiB,
	} {
		got, err := ParseBytes(in)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "Mi", "-1Mi", "1e3", "100m", "1 Mi", "1.2.3", "1KiB", "99999999Ti", "9223372036854775808", "+1"} {
		if got, err := ParseBytes(in); !errors.Is(err, ErrQuantity) {
			t.Errorf("ParseBytes(%q) = %d, %v; want ErrQuantity", in, got, err)
		}
	}
}

func TestBytesText(t *testing.T) {
	for b, want := range map[Bytes][2]string{
		0: {"0", "0"}, 1000: {"1000", "1000"}, 150 * MiB: {"150Mi", "150Mi"},
		1536 * KiB: {"1536Ki", "1.5Mi"}, -64 * MiB: {"-64Mi", "-64Mi"}, 2 * GiB: {"2Gi", "2Gi"},
	} {
		if got := [2]string{b.String(), b.Human()}; got != want {
			t.Errorf("%d: String, Human = %q; want %q", int64(b), got, want)
		}
	}
}

func TestPagesRoundDown(t *testing.T) {
	if got := (2*4096 + 4095*Bytes(1)).Pages(4096); got != 2 {
		t.Errorf("Pages = %d, want 2", got)
	}
	if got := Pages(-3).Bytes(4096); got != -12288 {
		t.Errorf("Bytes = %d, want -12288", got)
	}
}

func TestLimitKeepsAbsentZeroAndMaxApart(t *testing.T) {
	for in, want := range map[string]Limit{
		"max\n": Max, "0": LimitOf(0), "4096": LimitOf(4096),
		"9223372036854771712": Max, "9223372036854710272": Max, "9223372036854710271": LimitOf(9223372036854710271),
	} {
		if got, err := ParseLimit(in); err != nil || got != want {
			t.Errorf("ParseLimit(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "2Gi"} {
		if got, err := ParseLimit(in); err == nil {
			t.Errorf("ParseLimit(%q) = %v, want an error", in, got)
		}
	}
	for _, l := range []Limit{{}, Max, LimitOf(0), LimitOf(2 * GiB)} {
		data, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var back Limit
		if err := json.Unmarshal(data, &back); err != nil || back != l {
			t.Errorf("%v: through JSON %s = %v, %v", l, data, back, err)
		}
	}
}
