package run

import (
	"errors"
	"io/fs"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// readLimits reads what bounds the memory of the pods, from kubepods down to
// each container, and what the kubelet's formulas say. A container that the
// scenario does not name, such as pause, is left out.
func (r *runner) readLimits() ([]record.Limit, error) {
	kubelet := r.node.Kubelet()
	paths, err := r.hierarchy.Walk(r.record.Node.Kubepods)
	if err != nil {
		return nil, err
	}
	var pods []qos.Pod
	for _, w := range r.scenario.Workloads {
		for _, name := range w.PodNames() {
			pods = append(pods, w.Pod(name))
		}
	}
	var limits []record.Limit
	for _, path := range paths {
		l := record.Limit{Owner: r.node.Owner(path)}
		if !formulaLimits(&l, kubelet, path, pods) {
			continue
		}
		l.Observed, err = r.hierarchy.Limits(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended meanwhile
		} else if err != nil {
			return nil, err
		}
		limits = append(limits, l)
	}
	return limits, nil
}

// formulaLimits fills in what the formulas say of a cgroup, and returns false
// where they say nothing.
func formulaLimits(l *record.Limit, kubelet qos.Node, path string, pods []qos.Pod) bool {
	switch l.Owner.Level {
	case qos.LevelKubepods:
		l.Formula = kubelet.KubepodsLimits(pods)
		return true
	case qos.LevelClass:
		for _, class := range []qos.Class{qos.Burstable, qos.BestEffort} {
			if kubelet.Class(class) == path {
				l.QoSClass, l.Formula = string(class), kubelet.ClassLimits(class, pods)
				return true
			}
		}
	}
	for _, pod := range pods {
		if pod.Name != l.Owner.Pod {
			continue
		}
		l.QoSClass = string(qos.ClassOf(pod, kubelet.Version))
		if l.Owner.Level == qos.LevelPod {
			l.Formula = kubelet.PodLimits(pod)
			return true
		}
		for _, c := range pod.Containers {
			if c.Name == l.Owner.Container {
				l.Formula = kubelet.ContainerLimits(pod, c)
				return true
			}
		}
	}
	return false
}
