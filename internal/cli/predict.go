package cli

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

type predictOptions struct {
	kernel, kubelet, hostMemory string
	cgroup, cpus, lowestAdj     int
	output                      string
}

func newPredict() *cobra.Command {
	var o predictOptions
	c := &cobra.Command{
		Use: "predict NAME|FILE", Short: "Say from a scenario alone who will die, and why", Args: cobra.ExactArgs(1),
		Long: "Says from a scenario alone whom the kernel kills and whom the kubelet evicts, with the\n" +
			"arithmetic. It runs nothing. The exit code is 1 if the scenario expects what the models\n" +
			"say can't happen.",
		Example: "  oomlab predict qos-order\n  oomlab predict my-story.yaml --kernel 5.4.0 --kubelet v1.34.0",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := loadScenario(args[0])
			if err != nil {
				return err
			}
			if o.cgroup == 0 {
				o.cgroup = s.Needs.Cgroup
			}
			options, err := o.forecast()
			if err != nil {
				return err
			}
			f, err := forecast.Predict(s, options)
			if err != nil {
				return err
			}
			if err := printAs(c.OutOrStdout(), o.output, f, func(w io.Writer) { printForecast(w, s, f, options) }); err != nil {
				return err
			}
			if len(f.Contradictions) > 0 {
				return &exitError{code: exitFail}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.kernel, "kernel", "", "`version` of the kernel that kills; this machine's by default")
	f.StringVar(&o.kubelet, "kubelet", nodeimage.DefaultKubernetes, "`version` of the kubelet, v1.27 to v1.37")
	f.StringVar(&o.hostMemory, "host-memory", "", "`memory` of the host, such as 64Gi, for oom_score; this machine's by default")
	f.IntVar(&o.cgroup, "cgroup", 0, "`version` of the cgroups, 1 or 2; what the scenario needs or this machine has by default")
	f.IntVar(&o.cpus, "cpus", 0, "`number` of CPUs of the host, for the error of the kernel's counters; this machine's by default")
	f.IntVar(&o.lowestAdj, "lowest-adj", oom.OOMScoreAdjMin, "lowest oom_score_adj that the host accepts, `-1000` to 1000")
	outputFlag(c, &o.output)
	return c
}

// forecast takes what no flag says from this machine.
func (o predictOptions) forecast() (f forecast.Options, err error) {
	f.LowestAdj = o.lowestAdj
	if o.lowestAdj < oom.OOMScoreAdjMin || o.lowestAdj > oom.OOMScoreAdjMax {
		return f, fmt.Errorf("--lowest-adj %d: want -1000 to 1000", o.lowestAdj)
	}
	if f.Kubelet, err = qos.ParseVersion(o.kubelet); err != nil {
		return f, fmt.Errorf("--kubelet: %w", err)
	}
	h := evidence.Hierarchy{Version: o.cgroup}
	if o.cgroup == 0 {
		if h, err = evidence.FindHierarchy(); err != nil {
			return f, fmt.Errorf("%w; or say --cgroup 2", err)
		}
	} else if o.cgroup != 1 && o.cgroup != 2 {
		return f, fmt.Errorf("--cgroup %d: want 1 or 2", o.cgroup)
	}
	if f.Kernel, err = h.Kernel(); err != nil {
		return f, err
	}
	if o.kernel != "" {
		if f.Kernel.Version, err = oom.ParseVersion(o.kernel); err != nil {
			return f, fmt.Errorf("--kernel: %w", err)
		}
	}
	if o.hostMemory != "" {
		b, err := mem.ParseBytes(o.hostMemory)
		if err != nil {
			return f, fmt.Errorf("--host-memory: %w", err)
		}
		f.Kernel.RAM = b.Pages(f.Kernel.PageSize)
	}
	if o.cpus < 0 {
		return f, fmt.Errorf("--cpus %d: want 1 or more", o.cpus)
	} else if o.cpus > 0 {
		f.Kernel.CPUs = o.cpus
	}
	return f, nil
}

func printForecast(w io.Writer, s *scenarios.Scenario, f *forecast.Forecast, o forecast.Options) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	say("%s: %s\n", f.Scenario, s.Title)
	say("Linux %s, %d CPUs, cgroup v%d, kubelet %s, a node of %s\n", o.Kernel.Version, o.Kernel.CPUs, o.Kernel.CgroupVersion, o.Kubelet, s.Node.Memory)
	if f.Kubelet != nil {
		printEvictions(say, f.Kubelet)
	}
	switch {
	case f.Race(): // a doubt says so
	case f.Kernel == nil:
		say("\nNobody presses: the kernel has no reason to kill.\n")
	case f.Kubelet != nil:
		say("\nIf the kubelet did not act:\n")
	}
	if f.Kernel != nil {
		printKills(say, f, o.Kernel.PageSize)
	}
	for _, c := range f.Contradictions {
		say("\nCONTRADICTION %s\n", c)
	}
	for _, d := range f.Doubts {
		say("\nDOUBT %s\n", d)
	}
}

func printKills(say func(string, ...any), f *forecast.Forecast, page mem.Bytes) {
	human := func(p mem.Pages) string { return p.Bytes(page).Human() }
	for i, step := range f.Kernel.Steps {
		say("\nkill %d: %s runs out, %s\n", i+1, cmp.Or(step.Domain.Path, "the machine"), human(step.TotalPages.Pages))
		say("\tPROCESS\tHELD\tADJ\tSHARE\tPOINTS\tOOM_SCORE\n")
		for _, c := range step.Candidates {
			mark := ""
			if c.PID == step.Victim {
				mark = "dies"
			}
			score := "-"
			if observed, known := f.Scores[c.PID]; known {
				score = fmt.Sprint(observed)
			}
			say("%s\t%s\t%s\t%d\t%s\t%s\t%s\n", mark, c.Name, human(c.Points-c.AdjPages), c.OOMScoreAdj, human(c.AdjPages), human(c.Points), score)
		}
		say("%s: %s; margin %s, the kernel's counters are off by at most %s\n", step.Outcome, step.Reason, human(step.Margin), human(step.CounterError))
	}
	say("\nthen: %s\n", f.Kernel.End)
}

func printEvictions(say func(string, ...any), e *forecast.Eviction) {
	if e.MetAfterSeconds < 0 {
		say("\nNo threshold of the kubelet is met.\n")
		return
	}
	say("\nA threshold of the kubelet is met after %.1f s", e.MetAfterSeconds)
	if e.FullAfterSeconds >= 0 {
		say(", memory runs out after %.1f s", e.FullAfterSeconds)
	}
	say(".\n")
	for i, p := range e.Predictions {
		for _, t := range p.Thresholds {
			say("eviction %d: %s is %s, less than %s\n", i+1, t.Signal, t.Available.Human(), t.Wanted.Human())
		}
		say("\tPOD\tWORKING SET\tREQUEST\tEXCESS\tPRIORITY\tAHEAD BY\n")
		for place, r := range p.Ranking {
			mark := ""
			if len(p.First) > 0 && place == p.First[0] {
				mark = "goes"
			}
			say("%s\t%s\t%s\t%s\t%s\t%d\t%s\n", mark, r.Name, r.WorkingSet.Human(), r.Request.Human(), r.Excess.Human(), r.Priority, r.AheadBy)
		}
	}
}
