package kubelet

import (
	"context"
	"errors"
	"time"
)

// Poll asks until missing is empty. What was missing last is in the error.
func Poll(ctx context.Context, every time.Duration, missing func(context.Context) (string, error)) error {
	for {
		text, err := missing(ctx)
		if err == nil && text == "" {
			return nil
		}
		if err == nil {
			err = errors.New(text)
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(every):
		}
	}
}
