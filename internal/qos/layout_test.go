package qos

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	uid    = "0a1b2c3d-1111-2222-3333-444455556666"
	escUID = "0a1b2c3d_1111_2222_3333_444455556666"
)

var id = strings.Repeat("c0ffee00", 8)

func TestLayoutPaths(t *testing.T) {
	kind := Layout{Root: "/kubelet", Prefix: "/docker/beef"}
	for name, tc := range map[string]struct {
		got, want string
	}{
		"systemd kubepods":     {Layout{}.Kubepods(), "/kubepods.slice"},
		"systemd guaranteed":   {Layout{}.Class(Guaranteed), "/kubepods.slice"},
		"systemd burstable":    {Layout{}.Class(Burstable), "/kubepods.slice/kubepods-burstable.slice"},
		"systemd pod":          {Layout{}.Pod(Guaranteed, uid), "/kubepods.slice/kubepods-pod" + escUID + ".slice"},
		"systemd container":    {Layout{}.Container(BestEffort, uid, id), "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escUID + ".slice/cri-containerd-" + id + ".scope"},
		"systemd cri-o":        {Layout{Runtime: "crio"}.Container(Guaranteed, uid, id), "/kubepods.slice/kubepods-pod" + escUID + ".slice/crio-" + id + ".scope"},
		"cgroupfs kubepods":    {Layout{Driver: Cgroupfs}.Kubepods(), "/kubepods"},
		"cgroupfs pod":         {Layout{Driver: Cgroupfs}.Pod(Burstable, uid), "/kubepods/burstable/pod" + uid},
		"cgroupfs container":   {Layout{Driver: Cgroupfs}.Container(Guaranteed, uid, id), "/kubepods/pod" + uid + "/" + id},
		"cgroupfs cri-o":       {Layout{Driver: Cgroupfs, Runtime: "crio"}.Container(Guaranteed, uid, id), "/kubepods/pod" + uid + "/crio-" + id},
		"kind container":       {kind.Container(Burstable, uid, id), "/docker/beef/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + escUID + ".slice/cri-containerd-" + id + ".scope"},
		"deep root":            {Layout{Root: "/a-b/c"}.Kubepods(), "/a_b.slice/a_b-c.slice/a_b-c-kubepods.slice"},
		"deep root, cgroupfs":  {Layout{Driver: Cgroupfs, Root: "/a-b/c"}.Kubepods(), "/a-b/c/kubepods"},
		"root given as a path": {Layout{Root: "/"}.Kubepods(), "/kubepods.slice"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, tc.got, tc.want)
		}
	}
}

func TestParseCgroupPath(t *testing.T) {
	kindInPod := "/kubepods.slice/kubepods-pod" + escUID + ".slice/cri-containerd-aaaa.scope/docker/bbbb"
	for name, tc := range map[string]struct {
		path string
		want CgroupPath
	}{
		"kind on docker, cgroup v2": {
			"/system.slice/docker-beef.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + escUID + ".slice/cri-containerd-" + id + ".scope",
			CgroupPath{Level: LevelContainer, Class: Burstable, PodUID: uid, ContainerID: id,
				Layout: Layout{Driver: Systemd, Root: "/kubelet", Prefix: "/system.slice/docker-beef.scope", Runtime: "cri-containerd"}},
		},
		"kind on podman": {
			"/machine.slice/libpod-beef.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + escUID + ".slice",
			CgroupPath{Level: LevelPod, Class: Guaranteed, PodUID: uid,
				Layout: Layout{Driver: Systemd, Root: "/kubelet", Prefix: "/machine.slice/libpod-beef.scope/container"}},
		},
		"kind in a pod": {
			kindInPod + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice",
			CgroupPath{Level: LevelClass, Class: BestEffort,
				Layout: Layout{Driver: Systemd, Root: "/kubelet", Prefix: kindInPod}},
		},
		"kind with cgroupfs": {
			"/docker/beef/kubelet/kubepods/besteffort/pod" + uid + "/" + id,
			CgroupPath{Level: LevelContainer, Class: BestEffort, PodUID: uid, ContainerID: id,
				Layout: Layout{Driver: Cgroupfs, Root: "/kubelet", Prefix: "/docker/beef"}},
		},
		"docker": {
			"/kubepods/burstable/pod" + uid + "/" + id,
			CgroupPath{Level: LevelContainer, Class: Burstable, PodUID: uid, ContainerID: id, Layout: Layout{Driver: Cgroupfs}},
		},
		"cri-dockerd with systemd": {
			"/kubepods.slice/kubepods-pod" + escUID + ".slice/docker-" + id + ".scope",
			CgroupPath{Level: LevelContainer, Class: Guaranteed, PodUID: uid, ContainerID: id, Layout: Layout{Driver: Systemd, Runtime: "docker"}},
		},
		"cri-o monitor": {
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escUID + ".slice/crio-conmon-" + id + ".scope",
			CgroupPath{Level: LevelContainer, Class: BestEffort, PodUID: uid, ContainerID: id, Layout: Layout{Driver: Systemd, Runtime: "crio-conmon"}},
		},
		"systemd inside of a container": {
			"/kubepods.slice/kubepods-pod" + escUID + ".slice/cri-containerd-" + id + ".scope/init.scope/x",
			CgroupPath{Level: LevelContainer, Class: Guaranteed, PodUID: uid, ContainerID: id, Below: "/init.scope/x", Layout: Layout{Driver: Systemd, Runtime: "cri-containerd"}},
		},
		"drivers of kubelet and runtime differ": {
			"/system.slice/containerd.service/kubepods-burstable-pod" + escUID + ".slice:cri-containerd:" + id,
			CgroupPath{Level: LevelContainer, Class: Burstable, PodUID: uid, ContainerID: id,
				Layout: Layout{Driver: Systemd, Prefix: "/system.slice/containerd.service", Runtime: "cri-containerd"}},
		},
		"static pod": {
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda5e4d3c2b1a09f8e7d6c5b4a39281706.slice",
			CgroupPath{Level: LevelPod, Class: Burstable, PodUID: "a5e4d3c2b1a09f8e7d6c5b4a39281706", Layout: Layout{Driver: Systemd}},
		},
		"kubepods":     {"/kubepods.slice", CgroupPath{Level: LevelKubepods, Layout: Layout{Driver: Systemd}}},
		"no slash":     {"kubepods", CgroupPath{Level: LevelKubepods, Layout: Layout{Driver: Cgroupfs}}},
		"stray slice":  {"/kubepods.slice/other.slice", CgroupPath{Level: LevelKubepods, Below: "/other.slice", Layout: Layout{Driver: Systemd}}},
		"stray scope":  {"/kubepods.slice/kubepods-pod1.slice/x.scope", CgroupPath{Level: LevelPod, Class: Guaranteed, PodUID: "1", Below: "/x.scope", Layout: Layout{Driver: Systemd}}},
		"pod of no id": {"/kubepods/pod", CgroupPath{Level: LevelKubepods, Below: "/pod", Layout: Layout{Driver: Cgroupfs}}},
	} {
		got, ok := ParseCgroupPath(tc.path)
		if diff := cmp.Diff(tc.want, got); diff != "" || !ok {
			t.Errorf("%s: ok %v, -want +got:\n%s", name, ok, diff)
		}
	}
	for _, path := range []string{"", "/", "/system.slice/kubelet.service", "/mykubepods", "/kubepods.slice.d", "/xkubepods.slice", "/a.slice:b:c"} {
		if got, ok := ParseCgroupPath(path); ok {
			t.Errorf("ParseCgroupPath(%q) = %+v, want nothing", path, got)
		}
	}
}

// What a layout builds is read back as that layout.
func TestLayoutRoundTrip(t *testing.T) {
	for _, l := range []Layout{
		{Driver: Systemd, Runtime: "cri-containerd"},
		{Driver: Systemd, Runtime: "crio", Root: "/kubelet", Prefix: "/docker/x"},
		{Driver: Systemd, Runtime: "docker", Root: "/my-root/deep"},
		{Driver: Cgroupfs},
		{Driver: Cgroupfs, Runtime: "crio", Root: "/kubelet", Prefix: "/kubepods/pod1/x"},
	} {
		for _, c := range []Class{Guaranteed, Burstable, BestEffort} {
			bare := l
			bare.Runtime = ""
			class := CgroupPath{Level: LevelClass, Class: c, Layout: bare}
			if c == Guaranteed {
				class = CgroupPath{Level: LevelKubepods, Layout: bare}
			}
			for path, want := range map[string]CgroupPath{
				l.Class(c):              class,
				l.Pod(c, uid):           {Level: LevelPod, Class: c, PodUID: uid, Layout: bare},
				l.Container(c, uid, id): {Level: LevelContainer, Class: c, PodUID: uid, ContainerID: id, Layout: l},
			} {
				got, ok := ParseCgroupPath(path)
				if diff := cmp.Diff(want, got); diff != "" || !ok {
					t.Errorf("%s: ok %v, -want +got:\n%s", path, ok, diff)
				}
			}
		}
	}
}

func FuzzParseCgroupPath(f *testing.F) {
	f.Add(Layout{Root: "/kubelet", Prefix: "/docker/x"}.Container(Burstable, uid, id))
	f.Add(Layout{Driver: Cgroupfs}.Container(BestEffort, uid, id))
	f.Add("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:2")
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := ParseCgroupPath(path)
		if !ok {
			return
		}
		// Whatever was told apart must be complete for its level.
		complete := map[Level]bool{
			LevelKubepods:  got.Class == "" && got.PodUID == "" && got.ContainerID == "",
			LevelClass:     got.Class != "" && got.PodUID == "" && got.ContainerID == "",
			LevelPod:       got.Class != "" && got.PodUID != "" && got.ContainerID == "",
			LevelContainer: got.Class != "" && got.PodUID != "" && got.ContainerID != "",
		}
		if !complete[got.Level] {
			t.Errorf("%q: %+v", path, got)
		}
	})
}
