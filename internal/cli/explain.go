package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/kubestate"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/report"
	"github.com/oomlab/oomlab/internal/termination"
)

type explainOptions struct {
	contextOptions
	events string
	output string
	all    bool
}

func newExplain() *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use: "explain [LOG|OBJECTS|-]", Short: "Say of each OOM report in a kernel log why the kernel chose that process", Args: cobra.MaximumNArgs(1),
		Long: "Reads a kernel log of any size and common format (dmesg, journalctl, syslog, /dev/kmsg, a\n" +
			"pasted report) and says of each OOM report what ran out, whom the kernel chose by which\n" +
			"arithmetic, whether the model agrees, and what would have changed it. What the log lacks is\n" +
			"said.\n\n" +
			"Pods and events, beside the log or instead of it, tell which containers ended by running out\n" +
			"of memory or may have, and what of that can't be known without the log.\n\n" +
			"-o json writes one JSON document a line: one for each report, and a last one with the key\n" +
			"\"kubernetes\" for pods and events. The exit code is 3 if there is nothing to explain.",
		Example: "  journalctl -k | oomlab explain -\n" +
			"  oomlab explain dmesg.txt --pods pods.json --node-memory 16Gi\n" +
			"  kubectl get pods,nodes,events -A -o json | oomlab explain -\n" +
			"  oomlab explain --kubeconfig ~/.kube/config",
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), args, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	o.flags(f)
	f.StringVar(&o.events, "events", "", "`file` with events, as kubectl get events -o json writes them")
	f.BoolVar(&o.all, "all", false, "show every process of the tables")
	outputFlag(c, &o.output)
	return c
}

func (o explainOptions) run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("--output %q: want table or json", o.output)
	}
	state, err := o.objects(ctx)
	if err != nil {
		return err
	}
	x := &explanations{stdout: stdout, output: o.output, all: o.all}
	var log io.Reader
	if len(args) > 0 {
		file, err := openLog(args[0], stdin)
		if err != nil {
			return err
		}
		defer file.Close()
		if log, err = objectsOrLog(args[0], file, state); err != nil {
			return err
		}
	} else if o.pods+o.events+o.kubeconfig == "" {
		return errors.New("nothing to explain: give a kernel log, or - for standard input, --pods, --events or --kubeconfig")
	}
	if x.Context, err = o.with(state); err != nil {
		return err
	}
	for _, refused := range state.Refused {
		_, _ = fmt.Fprintf(stderr, "note: not read: %s\n", refused)
	}
	if log != nil {
		if err := x.log(log); err != nil {
			return err
		}
	}
	result := termination.Conclude(termination.Account{
		Pods: state.Pods, Events: state.Events, Runtimes: state.Runtime, HasLog: log != nil, Kills: x.kills,
	})
	if err := x.kubernetes(result); err != nil {
		return err
	}
	switch {
	case x.reports > 0 || !result.Empty():
		return nil
	case log != nil:
		return noReport(args[0])
	}
	return unfinished(errors.New("no container in it ended by running out of memory, or by exit code 137, and no event tells of that"))
}

// objects reads what the flags name.
func (o explainOptions) objects(ctx context.Context) (*kubestate.State, error) {
	state, err := o.state(ctx)
	if o.events == "" {
		return state, err
	}
	events, err2 := readObjects("--events", o.events)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	state.Add(events)
	return state, nil
}

// objectsOrLog returns the log, or nil where the file holds objects of the API,
// which are added to the state.
func objectsOrLog(name string, file io.Reader, state *kubestate.State) (io.Reader, error) {
	log := bufio.NewReaderSize(file, 4096)
	if head, _ := log.Peek(512); !kubestate.IsObject(head) {
		return log, nil
	}
	more, err := kubestate.Read(log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	state.Add(more)
	return nil, nil
}

// explanations writes what is explained.
type explanations struct {
	explain.Explainer
	stdout  io.Writer
	output  string
	all     bool
	reports int
	kills   []termination.Kill
}

// log explains the reports of a log, and keeps their kills.
func (x *explanations) log(log io.Reader) error {
	scanner := oomreport.NewScanner(log)
	encoder := json.NewEncoder(x.stdout)
	for scanner.Scan() {
		x.reports++
		e := x.Explain(scanner.Report())
		x.kills = append(x.kills, termination.KillsOf(e, x.reports)...)
		if x.output == "table" {
			report.Explanation(x.stdout, e, x.reports, x.all)
		} else if err := encoder.Encode(e); err != nil {
			return unfinished(fmt.Errorf("write: %w", err))
		}
	}
	return scanner.Err()
}

// kubernetes writes what pods and events come to.
func (x *explanations) kubernetes(r termination.Result) error {
	if r.Empty() {
		return nil
	}
	if x.output == "table" {
		report.Terminations(x.stdout, r)
		return nil
	}
	if err := json.NewEncoder(x.stdout).Encode(map[string]termination.Result{"kubernetes": r}); err != nil {
		return unfinished(fmt.Errorf("write: %w", err))
	}
	return nil
}

func noReport(name string) error {
	return unfinished(fmt.Errorf("%s: no OOM report in it: want a kernel log, as dmesg or journalctl -k prints it, or pods and events, as kubectl get -o json does", name))
}
