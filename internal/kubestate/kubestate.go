// Package kubestate reads what the API server knows of pods, nodes and events:
// from a file that kubectl wrote, or from a cluster.
package kubestate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/termination"
)

// State is what was read.
type State struct {
	Pods []explain.Pod
	// Capacity is the memory of each node, Runtime its container runtime, such
	// as "containerd://2.3.4", by the node's name.
	Capacity map[string]mem.Bytes
	Runtime  map[string]string
	Events   []termination.Event
	// Refused says what the API server did not let us read.
	Refused []string
}

// New returns a State of nothing.
func New() *State {
	return &State{Capacity: map[string]mem.Bytes{}, Runtime: map[string]string{}}
}

// Add adds what another input holds.
func (s *State) Add(other *State) {
	s.Pods = append(s.Pods, other.Pods...)
	s.Events = append(s.Events, other.Events...)
	s.Refused = append(s.Refused, other.Refused...)
	maps.Copy(s.Capacity, other.Capacity)
	maps.Copy(s.Runtime, other.Runtime)
}

// ErrNothing is wrapped by Read's error for input that holds none of these.
var ErrNothing = errors.New("no pod, node or event in it")

// IsObject reports that a file which begins so holds objects of the API, and no
// kernel log.
func IsObject(head []byte) bool {
	text := strings.TrimSpace(string(head))
	for _, prefix := range []string{"---", "{"} {
		text = strings.TrimSpace(strings.TrimPrefix(text, prefix))
	}
	for _, key := range []string{"apiVersion", "kind", "items", "metadata"} {
		if strings.HasPrefix(text, `"`+key+`":`) || strings.HasPrefix(text, key+":") {
			return true
		}
	}
	return false
}

// Read reads pods, nodes and events as kubectl get -o json or -o yaml writes them: one
// object, several documents, or lists. Objects of other kinds are ignored.
func Read(r io.Reader) (*State, error) {
	s := New()
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read objects: %w: %s", err, wanted)
		}
		if err := s.add(raw); err != nil {
			return nil, fmt.Errorf("read objects: %w", err)
		}
	}
	if len(s.Pods)+len(s.Capacity)+len(s.Events) == 0 {
		return nil, fmt.Errorf("read objects: %w: %s", ErrNothing, wanted)
	}
	return s, nil
}

const wanted = "want what kubectl get pods,nodes,events -o json writes"

func (s *State) add(raw json.RawMessage) error {
	var object struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil // an empty document
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return err
	}
	switch object.Kind {
	case "Pod":
		var pod corev1.Pod
		if err := json.Unmarshal(raw, &pod); err != nil {
			return err
		}
		s.Pods = append(s.Pods, podOf(&pod))
	case "Node":
		var node corev1.Node
		if err := json.Unmarshal(raw, &node); err != nil {
			return err
		}
		s.addNode(&node)
	case "Event":
		return s.addEvent(object.APIVersion, raw)
	case "PodList", "NodeList", "EventList", "List":
		for _, item := range object.Items {
			if object.Kind != "List" { // items of such lists have no kind
				item = withKind(item, object.APIVersion, strings.TrimSuffix(object.Kind, "List"))
			}
			if err := s.add(item); err != nil {
				return err
			}
		}
	}
	return nil
}

func withKind(raw json.RawMessage, version, kind string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || object == nil {
		return raw // add says what is wrong with it
	}
	object["kind"] = json.RawMessage(strconv.Quote(kind))
	object["apiVersion"] = json.RawMessage(strconv.Quote(version))
	out, err := json.Marshal(object)
	if err != nil {
		return raw
	}
	return out
}

func (s *State) addNode(node *corev1.Node) {
	if memory, ok := node.Status.Capacity[corev1.ResourceMemory]; ok {
		s.Capacity[node.Name] = mem.Bytes(memory.Value())
	}
	if runtime := node.Status.NodeInfo.ContainerRuntimeVersion; runtime != "" {
		s.Runtime[node.Name] = runtime
	}
}

// refused notes that something may not be read, and leaves other errors.
func (s *State) refused(what string, err error) error {
	if apierrors.IsForbidden(err) {
		s.Refused = append(s.Refused, fmt.Sprintf("the %s: %v", what, err))
		return nil
	}
	return err
}

// FromCluster asks the API server that a kubeconfig names for all pods, and for
// nodes and events where it may.
func FromCluster(ctx context.Context, kubeconfig string) (*State, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("use kubeconfig %s: %w", kubeconfig, err)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", config.Host, err)
	}
	s := New()
	for i := range pods.Items {
		s.Pods = append(s.Pods, podOf(&pods.Items[i]))
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err = s.refused("nodes", err); err != nil {
		return nil, fmt.Errorf("list the nodes of %s: %w", config.Host, err)
	}
	for i := range nodes.Items {
		s.addNode(&nodes.Items[i])
	}
	events, err := client.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err = s.refused("events", err); err != nil {
		return nil, fmt.Errorf("list the events of %s: %w", config.Host, err)
	}
	for i := range events.Items {
		s.Events = append(s.Events, EventOf(&events.Items[i]))
	}
	return s, nil
}
