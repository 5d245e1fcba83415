package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/report"
	"github.com/oomlab/oomlab/internal/reproduce"
	"github.com/oomlab/oomlab/scenarios"
)

type reproduceOptions struct {
	contextOptions
	runOptions
	number int
	scale  string
	file   string
	format string
}

func newReproduce() *cobra.Command {
	var o reproduceOptions
	c := &cobra.Command{
		Use: "reproduce LOG|-", Short: "Make a scenario of an OOM report, run it, and say whether the same happens", Args: cobra.ExactArgs(1),
		Long: "Writes a scenario with the domain, limit, processes, sizes, scores and trigger of an OOM\n" +
			"report, runs it, and compares: reproduced (exit code 0), not (1), partly (3). It refuses\n" +
			"where the scenario would have another outcome than the report, by the model.",
		Example: "  oomlab reproduce dmesg.txt\n" +
			"  oomlab reproduce console.log --report 3 --scale 1/8\n" +
			"  oomlab reproduce dmesg.txt --out scenario.yaml",
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), args[0], c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	o.flags(f)
	f.IntVar(&o.number, "report", 1, "which report of the log, by its `number`")
	f.StringVar(&o.scale, "scale", "", "`factor` for all sizes, such as 1/8 or 4; by default 1, or what fits")
	f.StringVar(&o.lab, "lab", "cgroup", "where: `cgroup`, this kernel without Kubernetes; kind; vm: another kernel")
	o.vm.flags(f)
	f.StringVar(&o.kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "`version` of Kubernetes")
	f.StringVar(&o.nodeImage, "node-image", "", "run this kind node `image` as it is")
	f.StringVar(&o.record, "record", "", "write the run record to this `file`")
	f.BoolVar(&o.keep, "keep", false, "keep the cluster and say how to reach it")
	f.StringVar(&o.file, "out", "", "write the scenario to this `file`, or to - for standard output, and run nothing")
	outputFlag(c, &o.format)
	return c
}

func (o reproduceOptions) run(ctx context.Context, log string, stdin io.Reader, stdout, stderr io.Writer) error {
	if o.format != "table" && o.format != "json" {
		return fmt.Errorf("--output %q: want table or json", o.format)
	}
	attempt, err := o.attempt(ctx, log, stdin)
	if err != nil {
		return err
	}
	if o.file != "" {
		for _, n := range attempt.Notes {
			_, _ = fmt.Fprintf(stderr, "note: %s\n", n)
		}
		return o.writeScenario(attempt, stdout)
	}
	told := stdout
	if o.format == "json" {
		told = stderr
	}
	report.Attempt(told, attempt)
	r, err := o.play(ctx, attempt.Scenario, told, stderr)
	if err != nil {
		return err
	}
	result := attempt.Score(r)
	if o.format == "json" {
		err = json.NewEncoder(stdout).Encode(struct {
			*reproduce.Attempt
			reproduce.Result
		}{attempt, result})
	} else {
		report.Reproduction(stdout, result)
	}
	return errors.Join(unfinished(err), exitForOutcome(result.Outcome))
}

// play runs a scenario in the lab that the flags name, and tells the story.
func (o runOptions) play(ctx context.Context, s *scenarios.Scenario, told, stderr io.Writer) (r *record.Record, err error) {
	play, closeLab, err := o.openLab(ctx, stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unfinished(closeLab())) }()
	if r, err = play(ctx, s, report.NewStory(told).Event); r != nil && o.record != "" {
		if err := writeRecord(o.record, r); err != nil {
			return nil, unfinished(err)
		}
	}
	return r, unfinished(err)
}

func exitForOutcome(o reproduce.Outcome) error {
	switch o {
	case reproduce.Reproduced:
		return nil
	case reproduce.Not:
		return &exitError{code: exitFail}
	}
	return &exitError{code: exitUnfinished}
}

// attempt makes the scenario of the report that is asked for.
func (o reproduceOptions) attempt(ctx context.Context, log string, stdin io.Reader) (*reproduce.Attempt, error) {
	options, err := o.options()
	if err != nil {
		return nil, err
	}
	r, e, err := o.find(ctx, log, stdin)
	if err != nil {
		return nil, err
	}
	options.Source = fmt.Sprintf("report %d of %s", o.number, log)
	options.Name = fmt.Sprintf("reproduction-%d", o.number)
	a, err := reproduce.New(r, e, options)
	return a, unfinished(err)
}

// find explains the log up to the report that is asked for.
func (o reproduceOptions) find(ctx context.Context, name string, stdin io.Reader) (*oomreport.Report, *explain.Explanation, error) {
	var explainer explain.Explainer
	var err error
	if explainer.Context, err = o.context(ctx); err != nil {
		return nil, nil, err
	}
	log, err := openLog(name, stdin)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	scanner := oomreport.NewScanner(log)
	seen := 0
	for scanner.Scan() {
		seen++
		if e := explainer.Explain(scanner.Report()); seen == o.number {
			return scanner.Report(), e, nil
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, nil, err
	}
	if seen == 0 {
		return nil, nil, noReport(name)
	}
	return nil, nil, fmt.Errorf("--report %d: %s has %d", o.number, name, seen)
}

// options say what this machine and the lab can do.
func (o reproduceOptions) options() (reproduce.Options, error) {
	facts, err := host.Read()
	if err != nil {
		return reproduce.Options{}, unfinished(err)
	}
	options := reproduce.Options{LowestAdj: facts.LowestAdj, LowestAdjProof: facts.Record().LowestAdjProof, Pods: o.lab == "kind"}
	if options.Scale, err = parseScale(o.scale); err != nil {
		return options, err
	}
	if options.Kubelet, err = qos.ParseVersion(o.kubernetes); err != nil {
		return options, fmt.Errorf("--kubernetes: %w", err)
	}
	h, err := evidence.FindHierarchy()
	if err != nil {
		return options, unfinished(err)
	}
	if options.Kernel, err = h.Kernel(); err != nil {
		return options, unfinished(err)
	}
	available, err := evidence.MemAvailable()
	if err != nil {
		return options, unfinished(err)
	}
	options.Room = (available - mem.GiB) / 2
	if options.Scale != 0 {
		options.Room = available - mem.GiB
	}
	if o.lab == "vm" {
		options.WholeMachine, options.LowestAdj, options.Kernel.CgroupVersion, options.Kernel.CPUs = true, oom.OOMScoreAdjMin, o.vm.cgroup, 1
		options.Room = min(options.Room, vmRoom)
		if v, err := oom.ParseVersion(o.vm.kernel); err == nil {
			options.Kernel.Version = v
		}
	}
	return options, nil
}

// vmRoom is the largest node that is filled in a machine whose instructions may
// have to be translated.
const vmRoom = 2 * mem.GiB

// parseScale reads 1/8, 0.5 or 4; nothing is 0.
func parseScale(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	over, under, fraction := strings.Cut(text, "/")
	a, err1 := strconv.ParseFloat(over, 64)
	b, err2 := 1.0, error(nil)
	if fraction {
		b, err2 = strconv.ParseFloat(under, 64)
	}
	if scale := a / b; err1 == nil && err2 == nil && scale > 0 && scale < 1e6 {
		return scale, nil
	}
	return 0, fmt.Errorf("--scale %q: want a factor such as 1/8 or 4", text)
}

func (o reproduceOptions) writeScenario(a *reproduce.Attempt, stdout io.Writer) error {
	if o.file == "-" {
		return a.Scenario.Write(stdout)
	}
	f, err := os.Create(o.file)
	if err != nil {
		return fmt.Errorf("write scenario: %w", err)
	}
	return errors.Join(a.Scenario.Write(f), f.Close())
}
