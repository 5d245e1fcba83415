package host

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const status = "Name:\tcat\nCapEff:\t000001fffeffffff\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n"

func TestCapabilities(t *testing.T) {
	tests := []struct {
		field, last string
		summary     string
		missing     int
		has         bool // CAP_SYS_RESOURCE
	}{
		{"CapEff", "40\n", "40 of 41 capabilities, not CAP_SYS_RESOURCE", 1, false},
		{"CapBnd", "40\n", "all 41 capabilities", 0, true},
		{"CapBnd", "41\n", "41 of 42 capabilities, not CAP_41", 1, true},
		{"CapAmb", "37\n", "0 of 38 capabilities", 38, false},
	}
	for _, tt := range tests {
		c, err := parseCapabilities(status, tt.field, tt.last)
		if err != nil {
			t.Fatal(err)
		}
		if c.Summary() != tt.summary || len(c.Missing()) != tt.missing || c.Has("CAP_SYS_RESOURCE") != tt.has {
			t.Errorf("%s: %q, missing %v, has CAP_SYS_RESOURCE %v; want %q, %d, %v",
				tt.field, c.Summary(), c.Missing(), c.Has("CAP_SYS_RESOURCE"), tt.summary, tt.missing, tt.has)
		}
	}
}

func TestCapabilitiesErrors(t *testing.T) {
	for _, tt := range [][3]string{
		{status, "CapInh", "40"}, {"CapEff:\tzz\n", "CapEff", "40"}, {status, "CapEff", "64"}, {status, "CapEff", ""},
	} {
		if c, err := parseCapabilities(tt[0], tt[1], tt[2]); err == nil {
			t.Errorf("%q: %v, want an error", tt, c)
		}
	}
}

// Whatever is read, what the set has and what it lacks are all that is known.
func FuzzParseCapabilities(f *testing.F) {
	f.Add(status, "40")
	f.Add("CapEff:\tffffffffffffffff\n", "63")
	f.Fuzz(func(t *testing.T, status, last string) {
		c, err := parseCapabilities(status, "CapEff", last)
		if err != nil {
			return
		}
		missing := c.Missing()
		for _, name := range missing {
			if c.Has(name) {
				t.Errorf("%s is both there and missing", name)
			}
		}
		if (len(missing) == 0) != strings.HasPrefix(c.Summary(), "all ") {
			t.Errorf("missing %v, summary %q", missing, c.Summary())
		}
	})
}

func TestCapabilitiesJSON(t *testing.T) {
	for field, want := range map[string]string{
		"CapEff": `{"count":40,"missing":["CAP_SYS_RESOURCE"]}`,
		"CapBnd": `{"count":41,"missing":[]}`,
	} {
		c, _ := parseCapabilities(status, field, "40")
		if got, err := json.Marshal(c); err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

// The names' order is easily got wrong; the kernel's own header is the judge
// where it is installed.
func TestCapabilityNamesAreTheKernels(t *testing.T) {
	const path = "/usr/include/linux/capability.h"
	header, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no kernel header to compare with: %v", err)
	}
	var want []string
	for line := range strings.Lines(string(header)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "#define" && strings.HasPrefix(f[1], "CAP_") && f[1] != "CAP_LAST_CAP" {
			want = append(want, strings.TrimPrefix(f[1], "CAP_"))
		}
	}
	if len(want) < 38 {
		t.Fatalf("%s names only %v", path, want)
	}
	if diff := cmp.Diff(want, capabilityNames[:min(len(want), len(capabilityNames))]); diff != "" {
		t.Errorf("names differ (-header +ours):\n%s", diff)
	}
}
