package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/kubestate"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/report"
)

type explainOptions struct {
	pods, kubeconfig, nodeMemory, kernel, output string
	all                                          bool
}

func newExplain() *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use: "explain LOG|-", Short: "Say of each OOM report in a kernel log why the kernel chose that process", Args: cobra.ExactArgs(1),
		Long: "Reads a kernel log of any size and common format (dmesg, journalctl, syslog, /dev/kmsg, a\n" +
			"pasted report) and says of each OOM report what ran out, whom the kernel chose by which\n" +
			"arithmetic, whether the model agrees, and what would have changed it. What the log lacks is\n" +
			"said. -o json writes one JSON document a line. The exit code is 3 if the log has no report.",
		Example: "  journalctl -k | oomlab explain -\n" +
			"  oomlab explain dmesg.txt --pods pods.json --node-memory 16Gi",
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), args[0], c.InOrStdin(), c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.pods, "pods", "", "`file` with the pods, and perhaps nodes, as kubectl get -o json writes them: for names")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "ask the cluster that this `file` names for pods and nodes")
	f.StringVar(&o.nodeMemory, "node-memory", "", "the node's `memory` as its kubelet sees it, such as 16Gi, to give requests in bytes")
	f.StringVar(&o.kernel, "kernel", "", "`version` of the kernel, where the log does not name it")
	f.BoolVar(&o.all, "all", false, "show every process of the tables")
	outputFlag(c, &o.output)
	return c
}

func (o explainOptions) run(ctx context.Context, name string, stdin io.Reader, stdout io.Writer) error {
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("--output %q: want table or json", o.output)
	}
	explainer := explain.Explainer{}
	var err error
	if explainer.Context, err = o.context(ctx); err != nil {
		return err
	}
	log, err := openLog(name, stdin)
	if err != nil {
		return err
	}
	defer log.Close()
	scanner := oomreport.NewScanner(log)
	encoder := json.NewEncoder(stdout)
	reports := 0
	for scanner.Scan() {
		reports++
		e := explainer.Explain(scanner.Report())
		if o.output == "table" {
			report.Explanation(stdout, e, reports, o.all)
		} else if err := encoder.Encode(e); err != nil {
			return unfinished(fmt.Errorf("write: %w", err))
		}
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	if reports == 0 {
		return unfinished(fmt.Errorf("%s: no OOM report in it: want a kernel log, as dmesg or journalctl -k prints it", name))
	}
	return nil
}

func (o explainOptions) context(ctx context.Context) (explain.Context, error) {
	var c explain.Context
	var errs []error
	var err error
	if o.nodeMemory != "" {
		if c.Capacity, err = mem.ParseBytes(o.nodeMemory); err != nil {
			errs = append(errs, fmt.Errorf("--node-memory: %w", err))
		}
	}
	if o.kernel != "" {
		if c.Kernel, err = oom.ParseVersion(o.kernel); err != nil {
			errs = append(errs, fmt.Errorf("--kernel: %w", err))
		}
	}
	state, err := o.state(ctx)
	if err != nil {
		errs = append(errs, err)
	} else {
		c.Pods, c.Capacities = state.Pods, state.Capacity
	}
	return c, errors.Join(errs...)
}

// askTimeout bounds the questions to an API server.
const askTimeout = 30 * time.Second

// state reads what is known of pods and nodes, which may be nothing.
func (o explainOptions) state(ctx context.Context) (*kubestate.State, error) {
	switch {
	case o.pods != "" && o.kubeconfig != "":
		return nil, errors.New("--pods and --kubeconfig: give one of them")
	case o.kubeconfig != "":
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return kubestate.FromCluster(ctx, o.kubeconfig)
	case o.pods != "":
		f, err := os.Open(o.pods)
		if err != nil {
			return nil, fmt.Errorf("--pods: %w", err)
		}
		defer f.Close()
		return kubestate.Read(f)
	}
	return &kubestate.State{}, nil
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
