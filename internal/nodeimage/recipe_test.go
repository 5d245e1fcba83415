package nodeimage

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

func TestRef(t *testing.T) {
	zero := Recipe{}.Ref()
	if !strings.HasPrefix(zero, "localhost/oomlab/node:"+DefaultKubernetes+"-") {
		t.Errorf("Ref = %s, does not say the version", zero)
	}
	if full := (Recipe{}).WithDefaults().Ref(); full != zero {
		t.Errorf("defaults written out have another name: %s, %s", full, zero)
	}
	seen := map[string]string{zero: "the default"}
	for name, r := range map[string]Recipe{
		"Kubernetes": {Kubernetes: "v1.36.3"},
		"kubelet":    {Kubelet: "v1.36.3"},
		"containerd": {Containerd: "v2.3.4"},
		"runc":       {Runc: "v1.4.3"},
		"CNI":        {CNI: "v1.9.0"},
	} {
		ref := r.Ref()
		if other, ok := seen[ref]; ok {
			t.Errorf("another %s has the name of %s: %s", name, other, ref)
		}
		seen[ref] = name
	}
	if older := (Recipe{Kubelet: "v1.36.3"}).Ref(); !strings.Contains(older, "v1.37.2-kubelet-v1.36.3-") {
		t.Errorf("Ref = %s, does not say that the kubelet is another", older)
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		recipe  Recipe
		wantErr string
	}{
		"defaults":         {Recipe{}, ""},
		"oldest":           {Recipe{Kubernetes: "v1.34.0"}, ""},
		"older kubelet":    {Recipe{Kubelet: "v1.34.4"}, ""},
		"no v":             {Recipe{Kubernetes: "1.37.2"}, `Kubernetes version "1.37.2": want one like v1.37.2`},
		"no patch":         {Recipe{Kubernetes: "v1.37"}, `Kubernetes version "v1.37"`},
		"too old":          {Recipe{Kubernetes: "v1.33.9"}, "only v1.34 to v1.37"},
		"too new":          {Recipe{Kubernetes: "v1.38.0"}, "only v1.34 to v1.37"},
		"newer kubelet":    {Recipe{Kubernetes: "v1.36.3", Kubelet: "v1.37.2"}, "newer than Kubernetes"},
		"containerd 1":     {Recipe{Containerd: "v1.7.28"}, "containerd v1.7.28: only v2"},
		"not a version":    {Recipe{Runc: "latest"}, `runc version "latest"`},
		"path for version": {Recipe{CNI: "../v1"}, `CNI plugins version "../v1"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.recipe.WithDefaults().validate()
			switch {
			case test.wantErr == "" && err != nil:
				t.Errorf("err = %v", err)
			case test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)):
				t.Errorf("err = %v, want %q", err, test.wantErr)
			}
		})
	}
}

func TestStaging(t *testing.T) {
	if got := staging("v1.37.2"); got != "v0.37.2" {
		t.Errorf("staging = %s, want v0.37.2", got)
	}
}

// The node files and the library that drives them come from one release.
func TestKindVersionIsThatOfTheLibrary(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if r.Mod.Path == "sigs.k8s.io/kind" {
			if r.Mod.Version != kindVersion {
				t.Errorf("go.mod has kind %s, kindVersion is %s", r.Mod.Version, kindVersion)
			}
			return
		}
	}
	t.Error("go.mod does not require sigs.k8s.io/kind")
}
