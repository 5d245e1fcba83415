package kindlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/oomlab/oomlab/internal/run"
)

var _ run.InsidePods = (*node)(nil)

// ScoresInPod reads the scores of the container's first process from inside the
// container, as kubectl exec would.
func (n *node) ScoresInPod(ctx context.Context, pod, container string) (adj, score int, err error) {
	var stdout bytes.Buffer
	if err := n.exec(ctx, pod, container, []string{stressorPath, "-scores"}, &stdout); err != nil {
		return 0, 0, err
	}
	var scores struct {
		OOMScoreAdj, OOMScore *int
	}
	if err := json.Unmarshal(stdout.Bytes(), &scores); err != nil || scores.OOMScoreAdj == nil || scores.OOMScore == nil {
		return 0, 0, fmt.Errorf("exec in %s: want two scores, got %q", pod, stdout.String())
	}
	return *scores.OOMScoreAdj, *scores.OOMScore, nil
}
