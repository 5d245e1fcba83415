package qos

import (
	"encoding/json"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]Version{
		"v1.37.2": 37, "1.27": 27, "v1.36.3+k3s1": 36, "v1.35.6-gke.100": 35, "1.34.0-alpha.1": 34, "v1.40.0": 40,
	} {
		if got, err := ParseVersion(in); err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "37", "v2.37", "v1.", "v1.x", "v1.26.15", "1", "v1.-30", "v1.99999999999999999999"} {
		if got, err := ParseVersion(in); err == nil {
			t.Errorf("ParseVersion(%q) = %d, want an error", in, got)
		}
	}
}

func TestVersionText(t *testing.T) {
	data, err := json.Marshal(Version(37))
	if err != nil || string(data) != `"1.37"` {
		t.Fatalf("Marshal = %s, %v", data, err)
	}
	var v Version
	if err := json.Unmarshal(data, &v); err != nil || v != 37 {
		t.Errorf("Unmarshal = %d, %v", v, err)
	}
	if err := json.Unmarshal([]byte(`"1.12"`), &v); err == nil || v != 37 {
		t.Errorf("Unmarshal of an old version = %d, %v; want an error and no change", v, err)
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"v1.37.2", "1.36", "v1.35.6-gke.100", "v1.+30"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVersion(s)
		if err != nil {
			return
		}
		if back, err := ParseVersion(v.String()); err != nil || back != v {
			t.Errorf("%q is %s, which is %d, %v", s, v, back, err)
		}
	})
}
