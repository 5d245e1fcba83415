package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/report"
	"github.com/oomlab/oomlab/internal/reproduce"
	"github.com/oomlab/oomlab/internal/whatif"
	"github.com/oomlab/oomlab/scenarios"
)

// quietTime is how long --run waits where nobody is to die.
const quietTime = 20 * time.Second

type whatifOptions struct {
	reproduceOptions
	requests, limits, sizes, classes []string
	node, toKernel, toKubelet        string
	prove                            bool
}

func newWhatif() *cobra.Command {
	var o whatifOptions
	c := &cobra.Command{
		Use: "whatif SCENARIO|LOG", Short: "Change a scenario or an OOM report, and see who would die then", Args: cobra.ExactArgs(1),
		Long: "Changes requests, limits, sizes, classes, the node, the kernel or the kubelet in a scenario,\n" +
			"or in the scenario that an OOM report becomes, and compares the forecasts. In a report\n" +
			"processes are named as there (java, or java/4711) and amounts are the report's: its scale is\n" +
			"applied to them. The exit code is 1 if --run shows that the forecast was wrong.",
		Example: "  oomlab whatif qos-order --request burstable=600Mi\n" +
			"  oomlab whatif dmesg.txt --node-memory 16Gi --request java=2Gi --run\n" +
			"  oomlab whatif my-story.yaml --to-kernel 5.4",
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), args[0], c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	o.flags(f)
	f.StringArrayVar(&o.requests, "request", nil, "`NAME=MEMORY`: another memory request")
	f.StringArrayVar(&o.limits, "limit", nil, "`NAME=MEMORY`: another memory limit")
	f.StringArrayVar(&o.sizes, "size", nil, "`NAME=MEMORY`: the process holds another amount")
	f.StringArrayVar(&o.classes, "class", nil, "`NAME=CLASS`: another QoS class")
	f.StringVar(&o.node, "node", "", "another `memory` of the node")
	f.StringVar(&o.toKernel, "to-kernel", "", "another kernel `version`")
	f.StringVar(&o.toKubelet, "to-kubelet", "", "another kubelet `version`")
	f.BoolVar(&o.prove, "run", false, "run the changed scenario")
	f.IntVar(&o.number, "report", 1, "which report of the log, by its `number`")
	f.StringVar(&o.scale, "scale", "", "`factor` for the sizes of a report")
	f.StringVar(&o.lab, "lab", "cgroup", "where --run does: `cgroup`, kind or vm")
	o.vm.flags(f)
	f.StringVar(&o.kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "`version` of Kubernetes before the change")
	f.StringVar(&o.nodeImage, "node-image", "", "run this kind node `image` as it is")
	f.StringVar(&o.record, "record", "", "write the run record to this `file`")
	outputFlag(c, &o.format)
	return c
}

// subject is what is changed: a scenario, and the report that it came from.
type subject struct {
	scenario *scenarios.Scenario
	attempt  *reproduce.Attempt // nil: it is nobody's reproduction
	capacity mem.Bytes          // of the report's node; 0: not known
	options  forecast.Options
}

func (o whatifOptions) run(ctx context.Context, name string, stdin io.Reader, stdout, stderr io.Writer) error {
	before, err := o.subject(ctx, name, stdin)
	if err != nil {
		return err
	}
	changes, err := o.changes(before)
	if err != nil {
		return err
	}
	changed, err := whatif.Apply(before.scenario, changes)
	if err != nil {
		return err
	}
	now, err := o.after(before.options)
	if err != nil {
		return err
	}
	answer, err := whatif.Ask(before.scenario, changed, before.options, now)
	if err != nil {
		return err
	}
	if err := printAs(stdout, o.format, answer, func(w io.Writer) { printAnswer(w, before, answer, now) }); err != nil || !o.prove {
		return err
	}
	return o.provoke(ctx, changed, answer, stdout, stderr)
}

// subject reads a scenario, or makes one of a report.
func (o whatifOptions) subject(ctx context.Context, name string, stdin io.Reader) (s subject, err error) {
	options, err := o.options()
	if err != nil {
		return s, err
	}
	s.options = forecast.Options{Kernel: options.Kernel, Kubelet: options.Kubelet, LowestAdj: oom.OOMScoreAdjMin, NoKubelet: o.prove && o.lab != "kind"}
	if o.prove {
		s.options.LowestAdj = options.LowestAdj
	}
	if extension := filepath.Ext(name); slices.Contains(scenarios.Names(), name) || extension == ".yaml" || extension == ".yml" {
		s.scenario, err = loadScenario(name)
		return s, err
	}
	r, e, err := o.find(ctx, name, stdin)
	if err != nil {
		return s, err
	}
	if v, err := oom.ParseVersion(e.Kernel); err == nil && !o.prove {
		s.options.Kernel.Version = v
	}
	options.Name, options.Source = "whatif", fmt.Sprintf("report %d of %s", o.number, name)
	if s.attempt, err = reproduce.New(r, e, options); err != nil {
		return s, unfinished(err)
	}
	s.scenario, s.capacity = s.attempt.Scenario, e.NodeMemory
	return s, nil
}

// process finds what a name means: in a report the process of that name, or of
// that name and pid; in a scenario a workload, or workload/container.
func (s subject) process(name string) (whatif.Process, error) {
	if s.attempt == nil {
		workload, container, _ := strings.Cut(name, "/")
		return whatif.Process{Workload: workload, Container: container}, nil
	}
	var found []reproduce.Role
	var names []string
	for _, r := range s.attempt.Roles {
		names = append(names, r.Process.String())
		if r.Name == name || r.Process.String() == name {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		return whatif.Process{}, fmt.Errorf("%d processes of the scenario are called %q: there are %s", len(found), name, strings.Join(names, ", "))
	}
	return whatif.Process{Workload: found[0].Workload, Container: found[0].Container, Index: found[0].Index}, nil
}

// changes reads the flags. Amounts of a report are scaled as it was; a request
// is a share of the node's memory, which has another size here.
func (o whatifOptions) changes(s subject) ([]whatif.Change, error) {
	var changes []whatif.Change
	var errs []error
	for _, list := range []struct {
		what   string
		values []string
	}{{"limit", o.limits}, {"class", o.classes}, {"request", o.requests}, {"size", o.sizes}} {
		for _, text := range list.values {
			c, err := s.change(list.what, text)
			if err != nil {
				errs = append(errs, fmt.Errorf("--%s %s: %w", list.what, text, err))
			}
			changes = append(changes, c)
		}
	}
	if o.node != "" {
		b, err := mem.ParseBytes(o.node)
		if err != nil {
			errs = append(errs, fmt.Errorf("--node: %w", err))
		} else if s.attempt != nil {
			errs = append(errs, errors.New("--node: a report is changed by its limit and requests; write its scenario with reproduce --out, and change the node there"))
		}
		changes = append(changes, whatif.Change{What: "node", Memory: b})
	}
	if len(changes) == 0 && o.toKernel == "" && o.toKubelet == "" {
		errs = append(errs, errors.New("nothing is changed: say --request, --limit, --size, --class, --node, --to-kernel or --to-kubelet"))
	}
	return changes, errors.Join(errs...)
}

func (s subject) change(what, text string) (c whatif.Change, err error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return c, errors.New("want NAME=VALUE")
	}
	c.What = what
	if c.Of, err = s.process(name); err != nil {
		return c, err
	}
	if what == "class" {
		c.Class = qos.Class(value)
		return c, nil
	}
	if c.Memory, err = mem.ParseBytes(value); err != nil || s.attempt == nil {
		return c, err
	}
	if what != "request" {
		c.Memory = mem.Bytes(float64(c.Memory)*s.attempt.Scale) / mem.KiB * mem.KiB
		return c, nil
	}
	if s.capacity == 0 {
		return c, errors.New("a request is a share of the node's memory, which the log does not tell: say --node-memory")
	}
	here := float64(s.scenario.Node.Memory.Bytes)
	c.Memory = mem.Bytes(float64(c.Memory) / float64(s.capacity) * here)
	return c, nil
}

// after is what the changed scenario runs on.
func (o whatifOptions) after(before forecast.Options) (now forecast.Options, err error) {
	now = before
	if o.toKernel != "" {
		if now.Kernel.Version, err = oom.ParseVersion(o.toKernel); err != nil {
			return now, fmt.Errorf("--to-kernel: %w", err)
		}
		if o.prove && o.lab != "vm" {
			return now, errors.New("--run: this machine has one kernel: add --lab vm")
		}
	}
	if o.toKubelet != "" {
		if now.Kubelet, err = qos.ParseVersion(o.toKubelet); err != nil {
			return now, fmt.Errorf("--to-kubelet: %w", err)
		}
	}
	return now, nil
}

// name names a victim as the report does, or else as the scenario does.
func (s subject) name(v whatif.Victim) string {
	name := v.String()
	if v.Pod != v.Workload {
		name = v.Pod
	}
	if s.attempt != nil {
		for _, r := range s.attempt.Roles {
			if (whatif.Process{Workload: r.Workload, Container: r.Container, Index: r.Index}) == v.Process {
				name = r.String()
			}
		}
	}
	if v.Restarted {
		name += ", restarted"
	}
	return name
}

func printAnswer(w io.Writer, s subject, a *whatif.Answer, now forecast.Options) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	side := func(title string, f *forecast.Forecast, victims []whatif.Victim, evicted []string, o forecast.Options) string {
		say("%s (Linux %s, kubelet %s):\n", title, o.Kernel.Version, o.Kubelet)
		var killed []string
		for _, name := range evicted {
			say("  the kubelet evicts %s\n", name)
		}
		for _, v := range victims {
			killed = append(killed, s.name(v))
			step := f.Kernel.Steps[v.Step-1]
			say("  %d. %s dies when %s run out: %s, by %s\n", v.Step, s.name(v), step.TotalPages.Pages.Bytes(o.Kernel.PageSize).Human(), step.Reason, v.Lead.Human())
		}
		return outcome(killed, evicted)
	}
	if s.attempt != nil {
		say("the report at scale %s\n", reproduce.ScaleText(s.attempt.Scale))
	}
	before := side("before", a.Before, a.VictimsBefore, a.EvictedBefore, s.options)
	after := side("after", a.After, a.VictimsAfter, a.EvictedAfter, now)
	if a.Changed {
		say("changed: %s, and not: %s\n", after, before)
	} else {
		say("nothing changes: %s\n", after)
	}
	if a.Close {
		say("one of the two is a close call\n")
	}
}

func outcome(killed, evicted []string) string {
	switch {
	case len(killed) > 0 && len(evicted) > 0:
		return "evicted " + strings.Join(evicted, ", then ") + ", killed " + strings.Join(killed, ", then ")
	case len(killed) > 0:
		return "killed " + strings.Join(killed, ", then ")
	case len(evicted) > 0:
		return "evicted " + strings.Join(evicted, ", then ")
	}
	return "nobody dies"
}

// provoke runs the changed scenario, which claims what was foretold.
func (o whatifOptions) provoke(ctx context.Context, s *scenarios.Scenario, a *whatif.Answer, stdout, stderr io.Writer) error {
	switch s.Expect = whatif.Expect(a.After); {
	case s.Expect.Kills != nil:
		s.Until.Within = scenarios.Duration{Duration: quietTime}
	case len(a.VictimsAfter) > 0 && s.Until.Kills > 0:
		s.Until.Kills = a.VictimsAfter[len(a.VictimsAfter)-1].Step
	}
	if o.toKubelet != "" {
		o.kubernetes = o.toKubelet
	}
	if o.toKernel != "" {
		o.vm.kernel = o.toKernel
	}
	told := stdout
	if o.format == "json" {
		told = stderr
	}
	story := report.NewStory(told)
	story.Begin(s)
	r, err := o.play(ctx, s, told, stderr)
	if err != nil {
		return err
	}
	story.End(r)
	return exitFor(r.Verdict)
}
