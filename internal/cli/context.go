package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/kubestate"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
)

// contextOptions say what is known beside a kernel log.
type contextOptions struct {
	pods, kubeconfig, nodeMemory, logKernel string
}

func (o *contextOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.pods, "pods", "", "`file` with pods, and perhaps nodes and events, as kubectl get -o json writes them")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "ask the cluster that this `file` names for pods, nodes and events")
	f.StringVar(&o.nodeMemory, "node-memory", "", "the node's `memory` as its kubelet sees it, such as 16Gi, to give requests in bytes")
	f.StringVar(&o.logKernel, "log-kernel", "", "`version` of the kernel, where the log does not name it")
}

// context reads what is known beside the log.
func (o contextOptions) context(ctx context.Context) (explain.Context, error) {
	state, err := o.state(ctx)
	if err != nil {
		state = kubestate.New()
	}
	c, more := o.with(state)
	return c, errors.Join(err, more)
}

// with adds to what was read of pods and nodes what the flags say.
func (o contextOptions) with(state *kubestate.State) (explain.Context, error) {
	c := explain.Context{Pods: state.Pods, Capacities: state.Capacity}
	var errs []error
	var err error
	if o.nodeMemory != "" {
		if c.Capacity, err = mem.ParseBytes(o.nodeMemory); err != nil {
			errs = append(errs, fmt.Errorf("--node-memory: %w", err))
		}
	}
	if o.logKernel != "" {
		if c.Kernel, err = oom.ParseVersion(o.logKernel); err != nil {
			errs = append(errs, fmt.Errorf("--log-kernel: %w", err))
		}
	}
	return c, errors.Join(errs...)
}

// askTimeout bounds the questions to an API server.
const askTimeout = 30 * time.Second

// state reads what is known of pods and nodes, which may be nothing.
func (o contextOptions) state(ctx context.Context) (*kubestate.State, error) {
	switch {
	case o.pods != "" && o.kubeconfig != "":
		return nil, errors.New("--pods and --kubeconfig: give one of them")
	case o.kubeconfig != "":
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return kubestate.FromCluster(ctx, o.kubeconfig)
	case o.pods != "":
		return readObjects("--pods", o.pods)
	}
	return kubestate.New(), nil
}

// readObjects reads the file that a flag names.
func readObjects(flag, name string) (*kubestate.State, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	state, err := kubestate.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, name, err)
	}
	return state, nil
}

// openLog opens a file, or - for standard input.
func openLog(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open kernel log: %w", err)
	}
	return f, nil
}
