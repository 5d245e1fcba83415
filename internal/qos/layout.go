package qos

import (
	"path"
	"strings"
)

// Driver is the kubelet's cgroup driver.
type Driver string

// The two drivers. The zero Driver is Systemd.
const (
	Systemd  Driver = "systemd"
	Cgroupfs Driver = "cgroupfs"
)

// Layout names the cgroups of a node. The zero Layout is that of a node with
// the systemd driver and containerd.
type Layout struct {
	Driver Driver `json:"driver,omitempty"`
	// Root is the kubelet's --cgroup-root, "/" if empty. kind sets "/kubelet".
	Root string `json:"cgroupRoot,omitempty"`
	// Prefix is the cgroup that the node itself runs in, empty for a machine
	// and "/docker/<id>" or the like for a kind node.
	Prefix string `json:"cgroupPrefix,omitempty"`
	// Runtime is the prefix of container scopes; empty is "cri-containerd".
	Runtime string `json:"runtime,omitempty"`
}

// Kubepods returns the path of the cgroup of all pods, below Prefix.
func (l Layout) Kubepods() string { return l.path() }

// Class returns the path of the parent of all pods of a class. Guaranteed pods
// have no cgroup of their own in between: it is Kubepods.
func (l Layout) Class(c Class) string { return l.path(classParts(c)...) }

// Pod returns the path of a pod's cgroup.
func (l Layout) Pod(c Class, uid string) string {
	return l.path(append(classParts(c), "pod"+uid)...)
}

// Container returns the path of the cgroup of a container with the runtime's
// id (the pause container has one too).
func (l Layout) Container(c Class, uid, id string) string {
	switch {
	case l.Driver != Cgroupfs:
		runtime := l.Runtime
		if runtime == "" {
			runtime = "cri-containerd"
		}
		id = runtime + "-" + id + ".scope"
	case l.Runtime == "crio":
		id = "crio-" + id
	}
	return path.Join(l.Pod(c, uid), id)
}

func classParts(c Class) []string {
	if c == Guaranteed {
		return nil
	}
	return []string{strings.ToLower(string(c))}
}

// path joins the parts below kubepods. systemd spells the whole ancestry in
// every name ("kubelet-kubepods-burstable.slice") and needs "_" for the "-" of
// a UID (CgroupName.ToSystemd, pkg/kubelet/cm).
func (l Layout) path(below ...string) string {
	parts := strings.FieldsFunc(l.Root, func(r rune) bool { return r == '/' })
	parts = append(append(parts, "kubepods"), below...)
	full := "/" + l.Prefix
	name := ""
	for _, part := range parts {
		if l.Driver != Cgroupfs {
			name += "-" + strings.ReplaceAll(part, "-", "_")
			part = name[1:] + ".slice"
		}
		full = path.Join(full, part)
	}
	return full
}

// Level says what a cgroup stands for.
type Level string

// The levels of the hierarchy, outermost first. LevelGlobal is the whole
// kernel, LevelNode the cgroup that a kind node runs in.
const (
	LevelGlobal    Level = "global"
	LevelNode      Level = "node"
	LevelKubepods  Level = "kubepods"
	LevelClass     Level = "qos"
	LevelPod       Level = "pod"
	LevelContainer Level = "container"
)
