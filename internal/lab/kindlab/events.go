package kindlab

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oomlab/oomlab/internal/kubestate"
	"github.com/oomlab/oomlab/internal/record"
)

// Events returns what was told of the scenario's pods and of the node, by
// whomever, since then. The API server keeps events for an hour.
func (n *node) Events(ctx context.Context, since time.Time) ([]record.KubernetesEvent, error) {
	var all []record.KubernetesEvent
	for namespace, kind := range map[string]string{n.worker: "Pod", metav1.NamespaceDefault: "Node"} {
		list, err := n.cluster.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=" + kind})
		if err != nil {
			return nil, fmt.Errorf("list events of %s: %w", namespace, err)
		}
		for i := range list.Items {
			e := kubestate.EventOf(&list.Items[i])
			if kind == "Node" && e.Name != n.worker || e.Last.Before(since.Truncate(time.Second)) {
				continue
			}
			all = append(all, record.KubernetesEvent{
				Object: strings.ToLower(kind) + "/" + e.Name, Warning: list.Items[i].Type == corev1.EventTypeWarning,
				Reason: e.Reason, Message: strings.TrimSpace(e.Message), Count: e.Count, Last: e.Last,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b record.KubernetesEvent) int {
		return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Reason, b.Reason))
	})
	return all, nil
}
