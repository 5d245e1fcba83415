package kernelimage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestModulesPackages(t *testing.T) {
	names := []string{"linux-modules-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"}
	for name, want := range map[string][]string{
		"linux-image-6.12.118+deb13-cloud-amd64": {"linux-image-6.12.118+deb13-cloud-amd64"},
		"linux-binary-7.0.13+deb13-cloud-amd64":  {"linux-binary-7.0.13+deb13-cloud-amd64"},
		"linux-binary-7.3.4+deb13-cloud-amd64":   {"linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"},
	} {
		if got := modulesPackages(Image{Package: name}, names); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestDriversAreDroppedButThoseOfTheGuest(t *testing.T) {
	for name, want := range map[string]bool{
		"kernel/drivers/block/virtio_blk.ko": false,
		"kernel/drivers/net/veth.ko":         false,
		"kernel/drivers/net/virtio_net.ko":   true,
		"kernel/drivers/virtio/virtio.ko":    false,
		"kernel/fs/overlayfs/overlay.ko":     false,
		"kernel/sound/soundcore.ko":          true,
		"modules.builtin":                    false,
	} {
		if got := dropped(name); got != want {
			t.Errorf("dropped(%q) = %v", name, got)
		}
	}
}

func TestDependsOf(t *testing.T) {
	for info, want := range map[string][]string{
		"license=GPL\x00depends=jbd2,mbcache\x00name=ext4\x00": {"jbd2", "mbcache"},
		"depends=\x00name=veth\x00":                            nil,
		"name=veth\x00":                                        nil,
	} {
		if got := dependsOf([]byte(info)); !slices.Equal(got, want) {
			t.Errorf("dependsOf(%q) = %q, want %q", info, got, want)
		}
	}
}

// What a kernel has built in needs no file; what it has nowhere is an error, and
// not found out by a guest that can't reach its disk.
func TestLoadKnowsWhatIsBuiltIn(t *testing.T) {
	m := Modules{Dir: t.TempDir()}
	release := filepath.Join(m.Dir, "6.12")
	if err := os.MkdirAll(release, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(release, "modules.builtin"), []byte("kernel/drivers/virtio/virtio-pci.ko\nkernel/fs/ext4/ext4.ko\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if files, err := m.Load("virtio_pci", "ext4"); err != nil || len(files) != 0 {
		t.Errorf("built in: %q, %v", files, err)
	}
	if _, err := m.Load("ext4", "virtio_blk"); err == nil || !strings.Contains(err.Error(), "virtio_blk") {
		t.Errorf("error %v, want the name of what is missing", err)
	}
}
