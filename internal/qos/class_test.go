package qos

import (
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

func TestClassOf(t *testing.T) {
	const mi = mem.MiB
	limits := func(memory mem.Bytes, cpu MilliCPU) Requirements {
		return Requirements{Limits: Resources{Memory: memory, CPU: cpu}}
	}
	podLevel := func(r Requirements, containers ...Container) Pod {
		return Pod{Resources: &r, Containers: containers}
	}
	for name, tc := range map[string]struct {
		pod   Pod
		old   Class // 1.27, before pod-level resources
		until Class // 1.36, sums
		now   Class // 1.37, per container
	}{
		"nothing":         {pod(Container{}), BestEffort, BestEffort, BestEffort},
		"everything":      {pod(Container{Requirements: both(mi, 1)}), Guaranteed, Guaranteed, Guaranteed},
		"no cpu":          {pod(Container{Requirements: both(mi, 0)}), Burstable, Burstable, Burstable},
		"no memory":       {pod(Container{Requirements: both(0, 1)}), Burstable, Burstable, Burstable},
		"requests only":   {pod(Container{Requirements: requests(mi, 1)}), Burstable, Burstable, Burstable},
		"limits only":     {pod(Container{Requirements: limits(mi, 1)}), Burstable, Burstable, Burstable},
		"limit above":     {pod(Container{Requirements: Requirements{Resources{mi, 1}, Resources{2 * mi, 1}}}), Burstable, Burstable, Burstable},
		"one of two":      {pod(Container{Requirements: both(mi, 1)}, Container{}), Burstable, Burstable, Burstable},
		"two of two":      {pod(Container{Requirements: both(mi, 1)}, Container{Requirements: both(2*mi, 2)}), Guaranteed, Guaranteed, Guaranteed},
		"init counts":     {pod(Container{Requirements: both(mi, 1)}, Container{Kind: Init}), Burstable, Burstable, Burstable},
		"sidecar counts":  {pod(Container{}, Container{Kind: Sidecar, Requirements: both(mi, 1)}), Burstable, Burstable, Burstable},
		"ephemeral not":   {pod(Container{Requirements: both(mi, 1)}, Container{Kind: Ephemeral}), Guaranteed, Guaranteed, Guaranteed},
		"stored class":    {Pod{StatusClass: Guaranteed}, Guaranteed, Guaranteed, Guaranteed},
		"no container":    {Pod{}, BestEffort, BestEffort, BestEffort},
		"pod level alone": {podLevel(both(mi, 1), Container{}), BestEffort, Guaranteed, Guaranteed},
		"pod level over containers": {
			podLevel(requests(mi, 0), Container{Requirements: both(mi, 1)}), Guaranteed, Burstable, Burstable},
		"pod level empty, containers guaranteed": {
			podLevel(Requirements{}, Container{Requirements: both(mi, 1)}), Guaranteed, BestEffort, Guaranteed},
		// No API server lets these two through; the two rules differ only there.
		"requests and limits swap between containers": {
			pod(Container{Requirements: Requirements{Resources{mi, 1}, Resources{2 * mi, 1}}},
				Container{Requirements: Requirements{Resources{2 * mi, 1}, Resources{mi, 1}}}), Guaranteed, Guaranteed, Burstable},
		"missing request made up for elsewhere": {
			pod(Container{Requirements: Requirements{Resources{0, 1}, Resources{mi, 1}}},
				Container{Requirements: Requirements{Resources{2 * mi, 1}, Resources{mi, 1}}}), Guaranteed, Guaranteed, Burstable},
	} {
		for v, want := range map[Version]Class{27: tc.old, 33: tc.old, 34: tc.until, 36: tc.until, 37: tc.now} {
			if got := ClassOf(tc.pod, v); got != want {
				t.Errorf("%s: kubelet %s: %s, want %s", name, v, got, want)
			}
		}
	}
}

func TestDefaulted(t *testing.T) {
	const mi = mem.MiB
	limit := func(r Resources) Requirements { return Requirements{Limits: r} }
	p := Pod{
		Containers: []Container{
			{Name: "limited", Requirements: limit(Resources{Memory: 2 * mi})},
			{Name: "asks less", Requirements: Requirements{Resources{Memory: mi}, Resources{Memory: 2 * mi}}},
		},
		Resources: &Requirements{Limits: Resources{Memory: 10 * mi, CPU: 5}},
	}
	got := p.Defaulted()
	if r := got.Containers[0].Requests.Memory; r != 2*mi {
		t.Errorf("missing request became %s, want the limit, 2Mi", r)
	}
	if r := got.Containers[1].Requests.Memory; r != mi {
		t.Errorf("request became %s, want the 1Mi it had", r)
	}
	if r, want := got.Resources.Requests, (Resources{Memory: 3 * mi, CPU: 5}); r != want {
		t.Errorf("pod-level requests %+v, want the containers' memory and the limit's cpu, %+v", r, want)
	}
	if p.Containers[0].Requests.Memory != 0 || p.Resources.Requests.Memory != 0 {
		t.Error("Defaulted changed the pod it was given")
	}
}

func TestPodRequestAndEvictionRequest(t *testing.T) {
	const mi = mem.MiB
	c := func(kind Kind, m mem.Bytes) Container { return Container{Kind: kind, Requirements: requests(m, 0)} }
	overhead := Resources{Memory: mi}
	for name, tc := range map[string]struct {
		pod          Pod
		want         mem.Bytes // PodRequest, 1.37
		evict, old33 mem.Bytes // EvictionRequest, 1.37 and 1.33
	}{
		"sum":                    {pod(c(Regular, 2*mi), c(Regular, 3*mi)), 5 * mi, 5 * mi, 5 * mi},
		"large init container":   {pod(c(Init, 9*mi), c(Regular, 3*mi)), 9 * mi, 9 * mi, 9 * mi},
		"small init container":   {pod(c(Init, 2*mi), c(Regular, 3*mi)), 3 * mi, 3 * mi, 3 * mi},
		"sidecar adds":           {pod(c(Sidecar, 2*mi), c(Regular, 3*mi)), 5 * mi, 5 * mi, 3 * mi},
		"init after sidecar":     {pod(c(Sidecar, 2*mi), c(Init, 9*mi), c(Regular, 3*mi)), 11 * mi, 11 * mi, 9 * mi},
		"init before sidecar":    {pod(c(Init, 9*mi), c(Sidecar, 2*mi), c(Regular, 3*mi)), 9 * mi, 9 * mi, 9 * mi},
		"ephemeral is free":      {pod(c(Ephemeral, 9*mi), c(Regular, 3*mi)), 3 * mi, 3 * mi, 3 * mi},
		"overhead":               {Pod{Overhead: overhead, Containers: []Container{c(Regular, 3*mi)}}, 4 * mi, 4 * mi, 4 * mi},
		"overhead on nothing":    {Pod{Overhead: overhead, Containers: []Container{{}}}, mi, 0, 0},
		"pod level":              {Pod{Resources: &Requirements{Requests: Resources{Memory: 7 * mi}}, Containers: []Container{c(Regular, 3*mi)}}, 7 * mi, 7 * mi, 3 * mi},
		"pod level of cpu alone": {Pod{Resources: &Requirements{Requests: Resources{CPU: 7}}, Containers: []Container{c(Regular, 3*mi)}}, 3 * mi, 0, 3 * mi},
	} {
		if got := tc.pod.PodRequest(37).Memory; got != tc.want {
			t.Errorf("%s: PodRequest %s, want %s", name, got, tc.want)
		}
		if got := tc.pod.EvictionRequest(37); got != tc.evict {
			t.Errorf("%s: EvictionRequest %s, want %s", name, got, tc.evict)
		}
		if got := tc.pod.EvictionRequest(33); got != tc.old33 {
			t.Errorf("%s: EvictionRequest of 1.33 %s, want %s", name, got, tc.old33)
		}
	}
}
