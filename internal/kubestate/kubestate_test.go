package kubestate

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

const pod = `apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  uid: 1234-ab
  annotations: {kubernetes.io/config.hash: cafe, kubernetes.io/config.source: file, kubernetes.io/config.mirror: cafe}
spec:
  nodeName: n1
  initContainers:
  - name: first
  - name: mesh
    restartPolicy: Always
    resources: {requests: {memory: 64Mi}}
  containers:
  - name: app
    resources: {requests: {memory: 0.5Gi, cpu: 200m}, limits: {memory: 1e9}}
status:
  qosClass: Burstable
  containerStatuses:
  - name: app
    containerID: containerd://bbb
    lastState: {terminated: {containerID: "containerd://aaa", exitCode: 137, reason: OOMKilled}}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {capacity: {memory: 16384Mi}}
`

func TestRead(t *testing.T) {
	s, err := Read(strings.NewReader(pod))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 1 || s.Capacity["n1"] != 16*mem.GiB {
		t.Fatalf("%+v", s)
	}
	p := s.Pods[0]
	want := qos.Pod{
		Namespace: "shop", Name: "web-1", UID: "1234-ab", StatusClass: qos.Burstable, Static: true, Mirror: true,
		Containers: []qos.Container{
			{Name: "first", Kind: qos.Init},
			{Name: "mesh", Kind: qos.Sidecar, Requirements: qos.Requirements{Requests: qos.Resources{Memory: 64 * mem.MiB}}},
			{Name: "app", Requirements: qos.Requirements{
				Requests: qos.Resources{Memory: 512 * mem.MiB, CPU: 200}, Limits: qos.Resources{Memory: 1e9},
			}},
		},
	}
	if diff := cmp.Diff(want, p.Pod); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"bbb", "aaa"}, p.ContainerIDs["app"]); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if p.Node != "n1" || p.ConfigHash != "cafe" {
		t.Errorf("node %q, hash %q", p.Node, p.ConfigHash)
	}
}

func TestReadForms(t *testing.T) {
	for name, tt := range map[string]struct {
		text        string
		pods, nodes int
		want        string
	}{
		"list":      {text: `{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"}},{"kind":"Node","metadata":{"name":"n"},"status":{"capacity":{"memory":"1Gi"}}},{"kind":"Event"}]}`, pods: 1, nodes: 1},
		"pod list":  {text: `{"kind":"PodList","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`, pods: 2},
		"node list": {text: `{"kind":"NodeList","items":[{"metadata":{"name":"n"},"status":{"capacity":{"memory":"1Gi"}}}]}`, nodes: 1},
		"empty":     {text: "", want: "neither a pod nor a node"},
		"others":    {text: `{"kind":"Service"}`, want: "neither a pod nor a node"},
		"no object": {text: `[1,2]`, want: "read pods"},
		"damaged":   {text: `{"kind":"Pod"`, want: "read pods"},
		"bad items": {text: `{"kind":"PodList","items":[7]}`, want: "read pods"},
		"bad size":  {text: `{"kind":"Pod","spec":{"containers":[{"name":"a","resources":{"limits":{"memory":"much"}}}]}}`, want: "read pods"},
	} {
		s, err := Read(strings.NewReader(tt.text))
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
			}
			continue
		}
		if err != nil || len(s.Pods) != tt.pods || len(s.Capacity) != tt.nodes {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := Read(strings.NewReader("kind: ConfigMap")); !errors.Is(err, ErrNothing) {
		t.Errorf("error %v", err)
	}
}
