package qos

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is the minor of a kubelet: 37 for Kubernetes 1.37.2. No rule of this
// package changed within a minor.
type Version int

// Oldest and Newest bound the kubelets whose sources the rules were checked
// against. Newer ones are taken to behave like Newest.
const (
	Oldest Version = 27
	Newest Version = 37
)

// ParseVersion reads "v1.37.2", "1.37" and the forms vendors add to it
// ("v1.36.3+k3s1", "v1.35.6-gke.100").
func ParseVersion(s string) (Version, error) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(s, "v"), "1.")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	minor, err := strconv.Atoi(rest[:end])
	if !ok || err != nil {
		return 0, fmt.Errorf("kubelet version %q: want something like v1.37.2", s)
	}
	if Version(minor) < Oldest {
		return 0, fmt.Errorf("kubelet version %q: the oldest one modelled is %s", s, Oldest)
	}
	return Version(minor), nil
}

// String writes the version as "1.37".
func (v Version) String() string { return "1." + strconv.Itoa(int(v)) }

// MarshalText writes the version as String does.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what ParseVersion reads.
func (v *Version) UnmarshalText(text []byte) error {
	parsed, err := ParseVersion(string(text))
	if err == nil {
		*v = parsed
	}
	return err
}
