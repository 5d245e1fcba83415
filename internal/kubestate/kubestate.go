// Package kubestate reads what the API server knows of pods and nodes: from a
// file that kubectl wrote, or from a cluster.
package kubestate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/mem"
)

// State is what was read.
type State struct {
	Pods []explain.Pod
	// Capacity is the memory of each node, by its name.
	Capacity map[string]mem.Bytes
}

// ErrNothing is wrapped by Read's error for input without a pod or node.
var ErrNothing = errors.New("neither a pod nor a node in it")

// Read reads pods and nodes as kubectl get -o json or -o yaml writes them: one
// object, several documents, or lists. Objects of other kinds are ignored.
func Read(r io.Reader) (*State, error) {
	s := &State{Capacity: map[string]mem.Bytes{}}
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read pods: %w: want what kubectl get pods -o json writes", err)
		}
		if err := s.add(raw); err != nil {
			return nil, fmt.Errorf("read pods: %w", err)
		}
	}
	if len(s.Pods) == 0 && len(s.Capacity) == 0 {
		return nil, fmt.Errorf("read pods: %w: want what kubectl get pods -o json writes", ErrNothing)
	}
	return s, nil
}

func (s *State) add(raw json.RawMessage) error {
	var object struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
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
	case "PodList", "NodeList", "List":
		for _, item := range object.Items {
			if object.Kind != "List" { // items of such lists have no kind
				item = withKind(item, strings.TrimSuffix(object.Kind, "List"))
			}
			if err := s.add(item); err != nil {
				return err
			}
		}
	}
	return nil
}

func withKind(raw json.RawMessage, kind string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || object == nil {
		return raw // add says what is wrong with it
	}
	object["kind"] = json.RawMessage(`"` + kind + `"`)
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
}

// FromCluster asks the API server that a kubeconfig names.
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
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the nodes of %s: %w", config.Host, err)
	}
	s := &State{Capacity: map[string]mem.Bytes{}}
	for i := range pods.Items {
		s.Pods = append(s.Pods, podOf(&pods.Items[i]))
	}
	for i := range nodes.Items {
		s.addNode(&nodes.Items[i])
	}
	return s, nil
}
