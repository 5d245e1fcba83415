package kindlab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/run"
)

var _ run.InsidePods = (*node)(nil)

// kubeletBack bounds the wait for a kubelet that has just been restarted: one
// that does not answer yet, or does not know its pods yet.
const kubeletBack = 20 * time.Second

func isKubeletBack(err error) bool {
	return err == nil || !strings.Contains(err.Error(), "error dialing backend") && !strings.Contains(err.Error(), "pod does not exist")
}

// ScoresInPod reads the scores of the container's first process from inside the
// container, as kubectl exec would.
func (n *node) ScoresInPod(ctx context.Context, pod, container string) (adj, score int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience.With(kubeletBack))
	defer cancel()
	var stdout bytes.Buffer
	var failure error
	err = kubelet.Poll(ctx, 250*time.Millisecond, func(ctx context.Context) (string, error) {
		stdout.Reset()
		failure = n.exec(ctx, pod, container, []string{kubelet.StressorPath, "-scores"}, &stdout)
		if !isKubeletBack(failure) {
			return failure.Error(), nil
		}
		return "", nil
	})
	if err := cmp.Or(failure, err); err != nil {
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
