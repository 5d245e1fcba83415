package kindlab

import (
	"context"
	"fmt"
)

// configz asks the running kubelet, through the API server's proxy, for the
// configuration that it runs with.
func (c *Cluster) configz(ctx context.Context, worker string) ([]byte, error) {
	raw, err := c.Client.CoreV1().RESTClient().Get().Resource("nodes").Name(worker).SubResource("proxy").Suffix("configz").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet on %s for its configuration: %w", worker, err)
	}
	return raw, nil
}
