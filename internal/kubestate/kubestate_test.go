package kubestate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/termination"
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
		"empty":     {text: "", want: "no pod, node or event"},
		"others":    {text: `{"kind":"Service"}`, want: "no pod, node or event"},
		"no object": {text: `[1,2]`, want: "read objects"},
		"damaged":   {text: `{"kind":"Pod"`, want: "read objects"},
		"bad items": {text: `{"kind":"PodList","items":[7]}`, want: "read objects"},
		"bad size":  {text: `{"kind":"Pod","spec":{"containers":[{"name":"a","resources":{"limits":{"memory":"much"}}}]}}`, want: "read objects"},
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

func TestReadEvents(t *testing.T) {
	at := time.Date(2025, 11, 27, 5, 1, 10, 0, time.UTC)
	for name, tt := range map[string]struct {
		text string
		want termination.Event
	}{
		"kubelet": {`{"apiVersion":"v1","kind":"Event","involvedObject":{"kind":"Pod","namespace":"shop","name":"web","uid":"u","fieldPath":"spec.initContainers{first}"},
			"reason":"BackOff","message":"m","source":{"component":"kubelet","host":"n1"},"count":3,"firstTimestamp":"2025-11-27T05:01:10Z","lastTimestamp":"2025-11-27T05:02:10Z"}`,
			termination.Event{Kind: "Pod", Namespace: "shop", Name: "web", UID: "u", Container: "first", Reason: "BackOff", Message: "m", Source: "kubelet", Node: "n1", Count: 3, First: at, Last: at.Add(time.Minute)}},
		"series": {`{"apiVersion":"v1","kind":"EventList","items":[{"involvedObject":{"kind":"Node","name":"n1"},"reason":"R","reportingComponent":"c","reportingInstance":"n1",
			"eventTime":"2025-11-27T05:01:10.123456Z","series":{"count":4,"lastObservedTime":"2025-11-27T05:02:10.500000Z"}}]}`,
			termination.Event{Kind: "Node", Name: "n1", Reason: "R", Source: "c", Node: "n1", Count: 4, First: at, Last: at.Add(time.Minute)}},
		"newer group": {`{"apiVersion":"events.k8s.io/v1","kind":"EventList","items":[{"regarding":{"kind":"Node","name":"n1"},"reason":"R","note":"m","reportingController":"c","reportingInstance":"n1","eventTime":"2025-11-27T05:01:10.123456Z"}]}`,
			termination.Event{Kind: "Node", Name: "n1", Reason: "R", Message: "m", Source: "c", Node: "n1", Count: 1, First: at, Last: at}},
		"timeless": {`{"apiVersion":"v1","kind":"Event","involvedObject":{"kind":"Node","name":"n1"},"reason":"R"}`,
			termination.Event{Kind: "Node", Name: "n1", Reason: "R", Count: 1}},
	} {
		s, err := Read(strings.NewReader(tt.text))
		if err != nil || len(s.Events) != 1 {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		if diff := cmp.Diff(tt.want, s.Events[0], cmp.Transformer("UTC", time.Time.UTC)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestIsObject(t *testing.T) {
	for text, want := range map[string]bool{
		"{\n    \"apiVersion\": \"v1\",":          true,
		`{"kind":"PodList","apiVersion":"v1"`:     true,
		`{"items":[`:                              true,
		"---\napiVersion: v1\nkind: Pod":          true,
		"kind: Pod\n":                             true,
		`{"MESSAGE":"a","_TRANSPORT":"kernel"}`:   false,
		`{"log":"[1.000000] a"}`:                  false,
		"kind invoked oom-killer: gfp_mask=0xcc0": false,
		"[    1.000000] kind: a":                  false,
		"":                                        false,
		"kernel: Mem-Info:\n":                     false,
	} {
		if got := IsObject([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
