package nodeimage

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestAddHook(t *testing.T) {
	text, err := addHook([]byte(`{"process":{"cwd":"/","rlimits":[{"type":"RLIMIT_NOFILE"}]},"hooks":{"createContainer":[{"path":"/first"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"process": map[string]any{"cwd": "/"},
		"hooks": map[string]any{"createContainer": []any{
			map[string]any{"path": "/first"},
			map[string]any{"path": "/kind/bin/mount-product-files.sh"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("specification (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "{}", `{"process":[]}`} {
		if _, err := addHook([]byte(bad)); err == nil {
			t.Errorf("addHook(%q) succeeded", bad)
		}
	}
}

func TestKindFileMode(t *testing.T) {
	for name, want := range map[string]fs.FileMode{
		"usr/local/bin/entrypoint":           0o755,
		"kind/bin/undo-mount-hacks.sh":       0o755,
		"kind/README.txt":                    0o644,
		"etc/systemd/system/kubelet.service": 0o644,
	} {
		if got := kindFileMode(name); got != want {
			t.Errorf("mode of %s = %o, want %o", name, got, want)
		}
	}
}

// What kind applies and containerd reads must at least be YAML and JSON.
func TestEmbeddedFiles(t *testing.T) {
	for name, text := range map[string]string{"default-cni.yaml": defaultCNI, "default-storage.yaml": defaultStorage} {
		var object struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(text), &object); err != nil || object.APIVersion == "" || object.Kind == "" {
			t.Errorf("%s: %+v, %v, want an object", name, object, err)
		}
	}
	var network struct {
		Name    string
		Plugins []struct{ Type string }
	}
	if err := json.Unmarshal([]byte(cniConfig), &network); err != nil || network.Name == "" {
		t.Fatalf("CNI configuration: %+v, %v", network, err)
	}
	for _, plugin := range network.Plugins {
		if cniSpec("").Commands[plugin.Type] == "" {
			t.Errorf("the network needs the CNI plugin %s, which no image has", plugin.Type)
		}
	}
}

func TestSandboxImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte("[plugins]\n  # use fixed sandbox image\n  sandbox_image = \"registry.k8s.io/pause:3.10\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := sandboxImage(path); got != "registry.k8s.io/pause:3.10" || err != nil {
		t.Errorf("sandboxImage = %q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("version = 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sandboxImage(path); err == nil || !strings.Contains(err.Error(), "no sandbox_image") {
		t.Errorf("err = %v, want one about sandbox_image", err)
	}
}

func TestSpecs(t *testing.T) {
	all := kubernetesSpec("v1.36.3")
	for _, component := range append(controlPlane, "kubelet", "kubeadm", "kubectl") {
		if all.Commands[component] == "" {
			t.Errorf("%s is not built", component)
		}
	}
	if all.Staging != "v0.36.3" || !slices.Contains(all.LDFlags, "k8s.io/component-base/version.gitMinor=36") {
		t.Errorf("staging modules %s, linker flags %v: not those of v1.36.3", all.Staging, all.LDFlags)
	}
	if len(kubeletSpec("v1.36.3").Commands) != 1 {
		t.Error("an older kubelet would bring its whole control plane")
	}
	if slices.Contains(containerdSpec("v2.4.2").Tags, "no_grpc") {
		t.Error("containerd without gRPC can't serve the kubelet")
	}
}

func TestMmdebstrapArgs(t *testing.T) {
	args := strings.Join(mmdebstrapArgs("root.tar"), "\n")
	for _, want := range []string{"usr-is-merged", "merged-usr", "bookworm\nroot.tar\nhttp"} {
		if !strings.Contains(args, want) {
			t.Errorf("no %q in:\n%s", want, args)
		}
	}
	// A pattern that is not below "$1" would remove the host's own files.
	for _, pattern := range debianRemoved {
		if !strings.HasPrefix(pattern, "/") || !strings.Contains(args, `--customize-hook=rm -rf "$1"`+pattern) {
			t.Errorf("%s is not removed from the tree", pattern)
		}
	}
}
