package conformance

import (
	"fmt"
	"math/rand/v2"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	kubelet "k8s.io/kubernetes/pkg/kubelet/types"
)

// A generator makes pods, most of them valid, some of them only what the
// kubelet's functions would accept.
type generator struct{ *rand.Rand }

func (g generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func (g generator) memory() mem.Bytes {
	switch g.IntN(6) {
	case 0:
		return 0
	case 1:
		return mem.Bytes(1 + g.Int64N(int64(mem.TiB)))
	case 2:
		return mem.Bytes(1 + g.IntN(4096))
	}
	return mem.Bytes(1+g.IntN(64)) * 64 * mem.MiB
}

func (g generator) resources() qos.Resources {
	r := qos.Resources{Memory: g.memory()}
	if !g.oneIn(3) {
		r.CPU = qos.MilliCPU(1 + g.IntN(4000))
	}
	return r
}

// requirements favours those of Guaranteed and BestEffort pods, which would be
// rare otherwise.
func (g generator) requirements(favour int) qos.Requirements {
	r := qos.Requirements{Requests: g.resources(), Limits: g.resources()}
	switch {
	case favour == 0:
		both := qos.Resources{Memory: 1 + g.memory(), CPU: qos.MilliCPU(1 + g.IntN(4000))}
		r = qos.Requirements{Requests: both, Limits: both}
	case favour == 1:
		r = qos.Requirements{}
	case g.oneIn(3):
		r.Limits = qos.Resources{}
	case g.oneIn(3):
		r.Requests = r.Limits
	}
	return r
}

func (g generator) pod(name string) qos.Pod {
	p := qos.Pod{Namespace: "ns", Name: name, UID: "uid-" + name}
	favour := g.IntN(5)
	add := func(kind qos.Kind) {
		c := qos.Container{Name: fmt.Sprintf("c%d", len(p.Containers)), Kind: kind}
		if kind != qos.Ephemeral {
			if g.oneIn(8) {
				favour = g.IntN(5)
			}
			c.Requirements = g.requirements(favour)
		}
		p.Containers = append(p.Containers, c)
	}
	for range g.IntN(4) {
		add([]qos.Kind{qos.Init, qos.Sidecar}[g.IntN(2)])
	}
	for range 1 + g.IntN(4) {
		add(qos.Regular)
	}
	for range g.IntN(2) {
		add(qos.Ephemeral)
	}
	if g.oneIn(3) {
		r := g.requirements(g.IntN(5))
		p.Resources = &r
	}
	if g.oneIn(4) {
		p.Overhead = g.resources()
	}
	switch g.IntN(8) {
	case 0:
		p.Static = true
	case 1:
		p.Mirror = true
	case 2:
		p.Priority = 2_000_000_000 + int32(g.IntN(2_000))
	case 3:
		p.Priority = 2_000_000_000 - int32(g.IntN(2))
	default:
		p.Priority = int32(g.IntN(5) - 2)
	}
	if g.oneIn(3) {
		p.PriorityClass = []string{"system-node-critical", "system-cluster-critical", "web"}[g.IntN(3)]
	}
	if g.oneIn(10) {
		p.StatusClass = []qos.Class{qos.Guaranteed, qos.Burstable, qos.BestEffort}[g.IntN(3)]
	}
	return p
}

// toAPI writes the pod as the API server would hand it to the kubelet.
func (g generator) toAPI(p qos.Pod) *v1.Pod {
	out := &v1.Pod{}
	out.Namespace, out.Name, out.UID = p.Namespace, p.Name, types.UID(p.UID)
	out.Annotations = map[string]string{kubelet.ConfigSourceAnnotationKey: kubelet.ApiserverSource}
	if p.Static {
		out.Annotations[kubelet.ConfigSourceAnnotationKey] = kubelet.FileSource
	}
	if p.Mirror {
		out.Annotations[kubelet.ConfigMirrorAnnotationKey] = "x"
	}
	out.Spec.Priority, out.Spec.PriorityClassName = &p.Priority, p.PriorityClass
	out.Status.QOSClass = v1.PodQOSClass(p.StatusClass)
	if p.Overhead != (qos.Resources{}) {
		out.Spec.Overhead = g.list(p.Overhead, false)
	}
	if p.Resources != nil {
		out.Spec.Resources = &v1.ResourceRequirements{
			Requests: g.list(p.Resources.Requests, false), Limits: g.list(p.Resources.Limits, false)}
	}
	for _, c := range p.Containers {
		container := v1.Container{Name: c.Name, Resources: v1.ResourceRequirements{
			Requests: g.list(c.Requests, true), Limits: g.list(c.Limits, true)}}
		switch c.Kind {
		case qos.Regular:
			out.Spec.Containers = append(out.Spec.Containers, container)
		case qos.Sidecar:
			always := v1.ContainerRestartPolicyAlways
			container.RestartPolicy = &always
			fallthrough
		case qos.Init:
			out.Spec.InitContainers = append(out.Spec.InitContainers, container)
		case qos.Ephemeral:
			out.Spec.EphemeralContainers = append(out.Spec.EphemeralContainers, v1.EphemeralContainer{
				EphemeralContainerCommon: v1.EphemeralContainerCommon(container)})
		}
	}
	return out
}

// list writes zeros as missing or, where that must make no difference, as "0".
func (g generator) list(r qos.Resources, zeros bool) v1.ResourceList {
	out := v1.ResourceList{}
	if r.Memory != 0 || zeros && g.oneIn(4) {
		out[v1.ResourceMemory] = *resource.NewQuantity(int64(r.Memory), resource.BinarySI)
	}
	if r.CPU != 0 || zeros && g.oneIn(4) {
		out[v1.ResourceCPU] = *resource.NewMilliQuantity(int64(r.CPU), resource.DecimalSI)
	}
	if g.oneIn(8) && zeros {
		out[v1.ResourceEphemeralStorage] = resource.MustParse("1Gi")
	}
	return out
}

// containersOf returns the API's containers in the order of qos.Pod.
func containersOf(p *v1.Pod) []*v1.Container {
	var out []*v1.Container
	for i := range p.Spec.InitContainers {
		out = append(out, &p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		out = append(out, &p.Spec.Containers[i])
	}
	for _, c := range p.Spec.EphemeralContainers {
		container := v1.Container(c.EphemeralContainerCommon)
		out = append(out, &container)
	}
	return out
}
