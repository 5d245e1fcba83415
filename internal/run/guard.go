package run

import (
	"context"
	"fmt"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
)

const (
	// HostReserve is what the machine must keep free, whatever a scenario does.
	HostReserve = 512 * mem.MiB
	// guardInterval is short against the time in which the fastest balloon
	// (some 4 GiB/s) could take the reserve beyond its own bounded node.
	guardInterval = 100 * time.Millisecond
)

// Guard refuses a node that doesn't fit in this machine's free memory with a
// reserve, and watches from then on: the returned context is cancelled when the
// free memory falls below the reserve. The returned function ends the watch. The
// errors wrap ErrUnsafe.
func Guard(ctx context.Context, node mem.Bytes) (context.Context, func(), error) {
	available, err := evidence.MemAvailable()
	if err != nil {
		return nil, nil, err
	}
	if available < node+HostReserve {
		return nil, nil, fmt.Errorf("%w: the node may take %s and %s must stay free, but MemAvailable is %s: free some, or use a smaller node",
			ErrUnsafe, node, HostReserve, available.Human())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(guardInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if available, err := evidence.MemAvailable(); err != nil {
				cancel(err)
			} else if available < HostReserve {
				cancel(fmt.Errorf("%w: MemAvailable fell to %s while pressing", ErrUnsafe, available.Human()))
			}
		}
	}()
	return ctx, func() { cancel(nil) }, nil
}
