package qos

import (
	"path"
	"strings"
)

// CgroupPath is what the path of a cgroup says.
type CgroupPath struct {
	Level       Level  `json:"level"`           // kubepods, qos, pod or container
	Class       Class  `json:"class,omitempty"` // empty for kubepods
	PodUID      string `json:"podUID,omitempty"`
	ContainerID string `json:"containerID,omitempty"`
	Layout      `json:"layout,omitzero"`
	// Below is the rest of the path, where a process made cgroups of its own
	// inside the container or the name is not one that a kubelet gives.
	Below string `json:"below,omitempty"`
}

// ParseCgroupPath reads the path of a cgroup at or below kubepods, of either
// driver and any runtime, absolute from the host's cgroup root as the kernel
// prints it in OOM reports or from any namespace below. Nodes may be nested
// (kind in Docker, kind in a pod): the innermost one counts, everything above
// its cgroup root is Layout.Prefix. It returns false for paths outside of any
// kubepods.
func ParseCgroupPath(p string) (CgroupPath, bool) {
	parts := strings.FieldsFunc(expandColons(p), func(r rune) bool { return r == '/' })
	for i := len(parts) - 1; i >= 0; i-- {
		stem, systemd := strings.CutSuffix(parts[i], ".slice")
		switch {
		case systemd && (stem == "kubepods" || strings.HasSuffix(stem, "-kubepods")):
			return parseSystemd(parts, i, stem), true
		case parts[i] == "kubepods":
			return parseCgroupfs(parts, i), true
		}
	}
	return CgroupPath{}, false
}

// expandColons rewrites the last element that runc makes of a systemd name
// under a runtime with the cgroupfs driver ("kubepods-podX.slice:cri-containerd:ID")
// as it would be with the same driver on both sides.
func expandColons(p string) string {
	dir, last := path.Split(p)
	slice, scope, ok := strings.Cut(last, ".slice:")
	runtime, id, ok2 := strings.Cut(scope, ":")
	if !ok || !ok2 {
		return p
	}
	name := ""
	for _, part := range strings.Split(slice, "-") {
		name += "-" + part
		dir = path.Join(dir, name[1:]+".slice")
	}
	return path.Join(dir, runtime+"-"+id+".scope")
}

func parseSystemd(parts []string, kubepods int, stem string) CgroupPath {
	out := CgroupPath{Level: LevelKubepods, Layout: Layout{Driver: Systemd}}
	root := strings.Split(stem, "-")
	root = root[:len(root)-1]
	above := parts[:kubepods]
	for i := len(root); i > 0; i-- {
		out.Root = path.Join("/", strings.ReplaceAll(root[i-1], "_", "-"), out.Root)
		if n := len(above); n > 0 && above[n-1] == strings.Join(root[:i], "-")+".slice" {
			above = above[:n-1]
		}
	}
	out.Prefix = joined(above)

	rest := out.descend(parts[kubepods+1:], func(name string) (string, bool) {
		own, isSlice := strings.CutSuffix(name, ".slice")
		tail, isChild := strings.CutPrefix(own, stem+"-")
		stem = own
		return strings.ReplaceAll(tail, "_", "-"), isSlice && isChild
	})
	if out.Level == LevelPod && len(rest) > 0 {
		scope, isScope := strings.CutSuffix(rest[0], ".scope")
		if dash := strings.LastIndexByte(scope, '-'); isScope && dash > 0 {
			out.Level, out.Runtime, out.ContainerID = LevelContainer, scope[:dash], scope[dash+1:]
			rest = rest[1:]
		}
	}
	out.Below = joined(rest)
	return out
}

func parseCgroupfs(parts []string, kubepods int) CgroupPath {
	out := CgroupPath{Level: LevelKubepods, Layout: Layout{Driver: Cgroupfs}}
	above := parts[:kubepods]
	// The path does not say where the node ends and the kubelet's root begins.
	// "kubelet" is what kind calls the latter.
	if n := len(above); n > 0 && above[n-1] == "kubelet" {
		out.Root, above = "/kubelet", above[:n-1]
	}
	out.Prefix = joined(above)

	rest := out.descend(parts[kubepods+1:], func(name string) (string, bool) { return name, true })
	if out.Level == LevelPod && len(rest) > 0 {
		out.Level, out.ContainerID = LevelContainer, rest[0]
		if id, ok := strings.CutPrefix(rest[0], "crio-"); ok {
			out.Runtime, out.ContainerID = "crio", id
		}
		rest = rest[1:]
	}
	out.Below = joined(rest)
	return out
}

// descend follows the parts below kubepods through the class to the pod, as far
// as own can tell the name that a part adds, and returns the others.
func (c *CgroupPath) descend(rest []string, own func(string) (string, bool)) []string {
	for len(rest) > 0 && c.Level != LevelPod {
		name, ok := own(rest[0])
		uid, isPod := strings.CutPrefix(name, "pod")
		switch {
		case ok && isPod && uid != "":
			c.Level, c.PodUID = LevelPod, uid
			if c.Class == "" {
				c.Class = Guaranteed
			}
		case ok && c.Level == LevelKubepods && name == "burstable":
			c.Level, c.Class = LevelClass, Burstable
		case ok && c.Level == LevelKubepods && name == "besteffort":
			c.Level, c.Class = LevelClass, BestEffort
		default:
			return rest
		}
		rest = rest[1:]
	}
	return rest
}

func joined(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return "/" + strings.Join(parts, "/")
}
