package nodeimage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/mod/semver"
)

// Defaults of a Recipe: what was current when this oomlab was written.
const (
	DefaultKubernetes = "v1.37.2"
	DefaultContainerd = "v2.4.2"
	DefaultRunc       = "v1.5.2"
	DefaultCNI        = "v1.9.1"
)

// The Kubernetes minor versions whose images were built and run.
const (
	oldestMinor = "v1.34"
	newestMinor = "v1.37"
)

// kindVersion is the release of kind whose node files go into the image. It is
// that of go.mod, so that the library and the node agree; a test compares.
const kindVersion = "v0.33.0"

// revision is part of every image's identity. Raise it with each change of
// this package that changes what is in an image.
const revision = 1

// Recipe says which versions an image is made of. Equal recipes make equal
// images; empty fields mean the defaults.
type Recipe struct {
	Kubernetes string `json:"kubernetes"` // kubeadm, kubectl and the control plane
	Kubelet    string `json:"kubelet"`    // as Kubernetes, or older: for workers only
	Containerd string `json:"containerd"` // v2.0 or newer
	Runc       string `json:"runc"`
	CNI        string `json:"cni"` // github.com/containernetworking/plugins
}

// WithDefaults returns r with its empty fields filled in.
func (r Recipe) WithDefaults() Recipe {
	for field, value := range map[*string]string{
		&r.Kubernetes: DefaultKubernetes,
		&r.Containerd: DefaultContainerd,
		&r.Runc:       DefaultRunc,
		&r.CNI:        DefaultCNI,
	} {
		if *field == "" {
			*field = value
		}
	}
	if r.Kubelet == "" {
		r.Kubelet = r.Kubernetes
	}
	return r
}

// validate reports what can't be built from r, which has its defaults.
func (r Recipe) validate() error {
	for _, v := range []struct{ name, version string }{
		{"Kubernetes", r.Kubernetes}, {"kubelet", r.Kubelet}, {"containerd", r.Containerd},
		{"runc", r.Runc}, {"CNI plugins", r.CNI},
	} {
		if semver.Canonical(v.version) != v.version {
			return fmt.Errorf("%s version %q: want one like %s", v.name, v.version, DefaultKubernetes)
		}
	}
	for _, v := range []string{r.Kubernetes, r.Kubelet} {
		if minor := semver.MajorMinor(v); semver.Compare(minor, oldestMinor) < 0 || semver.Compare(minor, newestMinor) > 0 {
			return fmt.Errorf("version %s of Kubernetes: only %s to %s can be built", v, oldestMinor, newestMinor)
		}
	}
	if semver.Compare(r.Kubelet, r.Kubernetes) > 0 {
		return fmt.Errorf("kubelet %s is newer than Kubernetes %s, which no version skew policy allows", r.Kubelet, r.Kubernetes)
	}
	if semver.Major(r.Containerd) != "v2" {
		return fmt.Errorf("containerd %s: only v2 can be built", r.Containerd)
	}
	return nil
}

// Ref returns the name under which the image of r is found in an engine:
// readable up to its last part, which covers everything.
func (r Recipe) Ref() string { return "localhost/oomlab/node:" + r.WithDefaults().tag() }

func (r Recipe) tag() string {
	identity, err := json.Marshal(struct {
		Recipe
		Revision   int
		Kind, Arch string
	}{r, revision, kindVersion, runtime.GOARCH})
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	sum := sha256.Sum256(identity)
	parts := []string{r.Kubernetes}
	if r.Kubelet != r.Kubernetes {
		parts = append(parts, "kubelet", r.Kubelet)
	}
	return strings.Join(append(parts, hex.EncodeToString(sum[:6])), "-")
}

// staging returns the version at which the modules of the staging directory
// are published for a version of Kubernetes: v0.37.2 for v1.37.2.
func staging(kubernetes string) string {
	return "v0" + strings.TrimPrefix(kubernetes, semver.Major(kubernetes))
}
