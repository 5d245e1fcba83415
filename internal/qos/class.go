package qos

// ClassOf returns the QoS class that a kubelet (and the API server) of version
// v gives to the pod (ComputePodQOS, pkg/apis/core/v1/helper/qos).
func ClassOf(p Pod, v Version) Class {
	switch {
	case p.StatusClass != "":
		return p.StatusClass
	case v >= 37:
		return classPerContainer(p)
	}
	return classOfSums(p, v)
}

// classPerContainer is the rule of 1.37: every container has a class of its
// own, and the pod has it too if they all agree.
func classPerContainer(p Pod) Class {
	// PodLevelResourcesFixKubeletQOSClass: an empty spec.resources no longer
	// decides.
	if p.hasPodLevel() {
		return p.Resources.class()
	}
	class := Class("")
	for _, c := range p.Containers {
		switch own := c.class(); {
		case c.Kind == Ephemeral:
		case class == "":
			class = own
		case class != own:
			return Burstable
		}
	}
	if class == "" {
		return BestEffort
	}
	return class
}

func (r Requirements) class() Class {
	switch {
	case r == (Requirements{}):
		return BestEffort
	case r.Requests == r.Limits && r.Limits.Memory > 0 && r.Limits.CPU > 0:
		return Guaranteed
	}
	return Burstable
}

// classOfSums is the rule up to 1.36: requests and limits are summed over the
// pod before they are compared.
func classOfSums(p Pod, v Version) Class {
	var sum Requirements
	allLimited := true
	add := func(r Requirements) {
		sum.Requests = sum.Requests.plus(r.Requests)
		sum.Limits = sum.Limits.plus(r.Limits)
		allLimited = allLimited && r.Limits.Memory > 0 && r.Limits.CPU > 0
	}
	if v.podLevelResources() && p.Resources != nil {
		add(*p.Resources)
	} else {
		for _, c := range p.Containers {
			if c.Kind != Ephemeral {
				add(c.Requirements)
			}
		}
	}
	switch {
	case sum == (Requirements{}):
		return BestEffort
	case allLimited && sum.Requests == sum.Limits:
		return Guaranteed
	}
	return Burstable
}

// podLevelResources tells whether the kubelet reads spec.resources: alpha and
// off in 1.32 and 1.33, on from 1.34 (KEP-2837).
func (v Version) podLevelResources() bool { return v >= 34 }
