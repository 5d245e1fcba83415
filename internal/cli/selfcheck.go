package cli

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/selfcheck"
)

type selfcheckOptions struct {
	selfcheck.Options
	replay, output string
}

func newSelfcheck() *cobra.Command {
	var o selfcheckOptions
	c := &cobra.Command{
		Use: "selfcheck", Short: "Let this kernel judge the model: random processes, real OOM kills", Args: cobra.NoArgs,
		Long: "Fills private cgroups of 16 to 64 MiB with random processes until the kernel kills one, and\n" +
			"compares it with the one that the model named. Each disagreement is saved in a file that\n" +
			"--replay plays again. The exit code is 1 if there is any. Needs root.",
		Example: "  oomlab selfcheck --experiments 1000\n  oomlab selfcheck --replay selfcheck/forecast-disagrees-7-42.json --experiments 20",
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("seed") {
				o.Seed = rand.Uint64()
			}
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.IntVar(&o.Experiments, "experiments", 100, "`number` of experiments, or of replays of one")
	f.Uint64Var(&o.Seed, "seed", 0, "`number` that the experiments are drawn from; random by default")
	f.IntVar(&o.Workers, "workers", runtime.NumCPU(), "`number` of experiments at the same time")
	f.StringVar(&o.SaveTo, "save", "selfcheck", "`directory` for the files of disagreements")
	f.StringVar(&o.replay, "replay", "", "play the experiment of this `file` again")
	outputFlag(c, &o.output)
	return c
}

func (o selfcheckOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	if o.Experiments < 1 || o.Workers < 1 {
		return fmt.Errorf("--experiments %d --workers %d: want at least 1", o.Experiments, o.Workers)
	}
	if o.replay != "" {
		again, err := readFinding(o.replay)
		if err != nil {
			return err
		}
		o.Again, o.Seed, o.Workers, o.SaveTo = &again.Experiment, again.Experiment.Seed, 1, ""
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", again.Kind, again.Judgement.Notes)
	}
	facts, err := host.Read()
	if err != nil {
		return unfinished(err)
	}
	o.LowestAdj = facts.LowestAdj
	if o.Stressor, err = lab.Stressor(ctx); err != nil {
		return unfinished(err)
	}
	o.CgroupName = fmt.Sprintf("%s%d", cgrouplab.Prefix, os.Getpid())
	told := time.Now()
	o.Progress = func(done int) {
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			_, _ = fmt.Fprintf(stderr, "%d of %d experiments\n", done, o.Experiments)
		}
	}
	report, err := selfcheck.Run(ctx, o.Options)
	if printErr := printAs(stdout, o.output, report, func(w io.Writer) { printSelfcheck(w, report) }); printErr != nil {
		return printErr
	}
	if err != nil {
		return unfinished(err)
	}
	if report.Forecast.Disagree > 0 || report.Replay.Disagree > 0 || report.Unseen > 0 {
		return &exitError{code: exitFail}
	}
	return nil
}

func readFinding(name string) (selfcheck.Finding, error) {
	f, err := os.Open(name)
	if err != nil {
		return selfcheck.Finding{}, fmt.Errorf("open a finding: %w", err)
	}
	defer f.Close()
	return selfcheck.ReadFinding(f)
}

func printSelfcheck(w io.Writer, r selfcheck.Report) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	k := r.Kernel
	say("Linux %s, cgroup v%d, %d CPUs, oom_score_adj from %d, seed %d\n", k.Version, k.CgroupVersion, k.CPUs, r.LowestAdj, r.Seed)
	say("%d experiments in %.1f s, %.0f a minute\n\n", r.Experiments, r.ElapsedSeconds, float64(r.Experiments)/max(r.ElapsedSeconds, 0.001)*60)
	say("\tJUDGED\tAGREE\tDISAGREE\tTIE\tUNDETERMINED\tDETERMINED ONES AGREE\n")
	for _, row := range []struct {
		name string
		selfcheck.Tally
	}{{"forecast", r.Forecast}, {"replay", r.Replay}} {
		share := "-"
		if n := row.Agree + row.Disagree; n > 0 {
			share = fmt.Sprintf("%.2f%%", 100*float64(row.Agree)/float64(n))
		}
		say("%s\t%d of %d\t%d\t%d\t%d (%d as named)\t%d (%d as named)\t%s\n", row.name, row.Judged(), r.Experiments,
			row.Agree, row.Disagree, row.Tie, row.TieNamed, row.Undetermined, row.UndeterminedNamed, share)
	}
	invisible, unknown, noTable := r.Needless[selfcheck.Invisible], r.Needless[selfcheck.Unknown], r.Needless[selfcheck.NoTable]
	say("\nneedless kills after the first: %d", invisible+unknown+noTable)
	say(" (%d: the scan did not see the first victim, which was still exiting; %d: unknown; %d: no table)\n", invisible, unknown, noTable)
	say("nobody killed: %d; did not fit: %d; kills missing in the kernel's log: %d; records lost: %d\n",
		r.NoKill, r.Unfit, r.Unseen, r.LostRecords)
	if r.NoTrace != "" {
		say("no second source: %s\n", r.NoTrace)
	} else {
		say("the trace event oom:mark_victim names other victims than the kernel's log: %d\n", r.Differ)
	}
	for _, name := range r.Files {
		say("saved %s\n", name)
	}
}
