package kindlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/oomlab/oomlab/internal/run"
)

var _ run.InsidePods = (*node)(nil)

// ScoresInPod reads the scores of the container's first process from inside the
// container, as kubectl exec would.
func (n *node) ScoresInPod(ctx context.Context, pod, container string) (adj, score int, err error) {
	var stdout, stderr bytes.Buffer
	request := n.cluster.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(n.worker).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: container, Command: []string{stressorPath, "-scores"}, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(n.cluster.REST, "GET", request.URL().String())
	if err != nil {
		return 0, 0, fmt.Errorf("exec in %s: %w", pod, err)
	}
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}); err != nil {
		return 0, 0, fmt.Errorf("exec in %s: %w: %s", pod, err, stderr.String())
	}
	var scores struct {
		OOMScoreAdj, OOMScore *int
	}
	if err := json.Unmarshal(stdout.Bytes(), &scores); err != nil || scores.OOMScoreAdj == nil || scores.OOMScore == nil {
		return 0, 0, fmt.Errorf("exec in %s: want two scores, got %q", pod, stdout.String())
	}
	return *scores.OOMScoreAdj, *scores.OOMScore, nil
}
