package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/report"
)

type explainOptions struct {
	contextOptions
	output string
	all    bool
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
	o.flags(c.Flags())
	c.Flags().BoolVar(&o.all, "all", false, "show every process of the tables")
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
		return noReport(name)
	}
	return nil
}

func noReport(name string) error {
	return unfinished(fmt.Errorf("%s: no OOM report in it: want a kernel log, as dmesg or journalctl -k prints it", name))
}
