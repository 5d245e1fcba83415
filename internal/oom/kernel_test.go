package oom

import (
	"encoding/json"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for release, want := range map[string]Version{
		"6.18.44-fc-v782": {6, 18, 44}, "5.15.0-1023-azure": {5, 15, 0}, "7.2": {7, 2, 0},
		"5.4.0-150-generic": {5, 4, 0}, "6.1.0-37-cloud-amd64": {6, 1, 0}, "6.6.87.2-microsoft-standard-WSL2": {6, 6, 87},
		"4.18.0-553.el8_10.x86_64": {4, 18, 0}, "6.12+deb13": {6, 12, 0}, "6.19.0-rc3": {6, 19, 0}, "6.12.": {6, 12, 0}, "5.10.209-0": {5, 10, 209},
	} {
		if got, err := ParseVersion(release); err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %v, %v; want %v", release, got, err, want)
		}
	}
	for _, release := range []string{"", "6", "6.", "v6.1", "Linux 6.1", ".6.1", "6..1", "6.99999", "-6.1"} {
		if got, err := ParseVersion(release); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", release, got)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	for _, tc := range []struct {
		v            Version
		major, minor int
		want         bool
	}{
		{Version{6, 2, 0}, 6, 2, true}, {Version{6, 1, 99}, 6, 2, false}, {Version{7, 0, 0}, 6, 2, true},
		{Version{5, 19, 0}, 6, 2, false}, {Version{6, 18, 1}, 7, 0, false}, {Version{}, 0, 1, false},
	} {
		if got := tc.v.AtLeast(tc.major, tc.minor); got != tc.want {
			t.Errorf("%s.AtLeast(%d, %d) = %v", tc.v, tc.major, tc.minor, got)
		}
	}
}

func TestVersionText(t *testing.T) {
	for v, want := range map[Version]string{{6, 18, 44}: `"6.18.44"`, {}: `""`} {
		data, err := json.Marshal(v)
		if err != nil || string(data) != want {
			t.Errorf("%v: JSON %s, %v", v, data, err)
		}
		back := Version{9, 9, 9}
		if err := json.Unmarshal(data, &back); err != nil || back != v {
			t.Errorf("%s: read back as %v, %v", data, back, err)
		}
	}
	if got := (Version{}).String(); got != "unknown" {
		t.Errorf("zero version is %q", got)
	}
	if err := new(Version).UnmarshalText([]byte("six")); err == nil {
		t.Error(`"six" is a version`)
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add("6.18.44-fc-v782")
	f.Add("5.15.0-1023-azure")
	f.Fuzz(func(t *testing.T, release string) {
		v, err := ParseVersion(release)
		if err != nil {
			return
		}
		if again, err := ParseVersion(v.String()); err != nil && !v.IsZero() || again != v && !v.IsZero() {
			t.Errorf("%q is %v, which is %v, %v", release, v, again, err)
		}
	})
}
