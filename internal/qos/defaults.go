package qos

// Defaulted returns the pod as the API server stores it: a missing request is
// as large as the limit beside it, and once a pod-level limit is set, a missing
// pod-level request is what the containers request, or else the limit
// (SetDefaults_Pod, pkg/apis/core/v1). Where somebody wrote "memory: 0" as a
// request beside a limit, the API server keeps the zero: such pods must not be
// passed through here.
func (p Pod) Defaulted() Pod {
	containers := make([]Container, len(p.Containers))
	for i, c := range p.Containers {
		c.Requests = c.Limits.overriddenBy(c.Requests)
		containers[i] = c
	}
	p.Containers = containers
	if p.Resources != nil && p.Resources.Limits != (Resources{}) {
		r := *p.Resources
		r.Requests = r.Limits.overriddenBy(p.containerSum(requestsOf)).overriddenBy(r.Requests)
		p.Resources = &r
	}
	return p
}
