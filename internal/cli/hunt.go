package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/hunt"
	"github.com/oomlab/oomlab/internal/lab/vmlab"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

type huntOptions struct {
	vm                              vmOptions
	kubernetes, seeds, save, output string
	parallel                        int
}

func newHunt() *cobra.Command {
	o := huntOptions{vm: vmOptions{seed: 0}} // any seed: hunt has its own
	c := &cobra.Command{
		Use: "hunt NAME|FILE", Short: "Look for schedules under which somebody else dies", Args: cobra.ExactArgs(1),
		Long: "Runs a scenario in the vm lab with many seeds. Each seed is another schedule, which can be run\n" +
			"again. What ends unlike most is saved: its record, and the line that runs it again. The exit\n" +
			"code is 1 if there is such a seed, or if the scenario fails with all of them.",
		Example: "  oomlab hunt qos-order --seeds 0-31 --kernel 7.3",
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), args[0], c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.seeds, "seeds", "0-31", "`seeds` to run: numbers and ranges, such as 0-3,12")
	f.StringVar(&o.vm.kernel, "kernel", defaultKernel, "a series of `kernels`, a version, or the file of a bzImage")
	f.IntVar(&o.vm.cgroup, "cgroup", 2, "`version` of the cgroups, 1 or 2")
	f.StringVar(&o.kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "`version` of the kubelet whose scores are given")
	f.IntVar(&o.parallel, "parallel", runtime.NumCPU(), "`number` of machines at a time")
	f.StringVar(&o.save, "save", "hunt", "`folder` for what ends unlike most")
	outputFlag(c, &o.output)
	return c
}

func (o huntOptions) run(ctx context.Context, name string, stdout, stderr io.Writer) error {
	s, err := loadScenario(name)
	if err != nil {
		return err
	}
	if !s.Metadata.RunsIn("vm") {
		return fmt.Errorf("hunt: %s holds in another lab alone, by its labels: %s", s.Metadata.Name, strings.Join(s.Metadata.Labels, ", "))
	}
	seeds, err := hunt.ParseSeeds(o.seeds)
	if err != nil {
		return fmt.Errorf("--seeds: %w", err)
	}
	if o.parallel < 1 {
		return fmt.Errorf("--parallel %d: want at least 1", o.parallel)
	}
	kubelet, err := qos.ParseVersion(o.kubernetes)
	if err != nil {
		return fmt.Errorf("--kubernetes: %w", err)
	}
	machine, kernel, err := o.vm.machine(ctx, kubelet, stderr)
	if err != nil {
		return err
	}
	runs := hunt.Seeds(ctx, seeds, o.parallel, func(ctx context.Context, seed int) (*record.Record, error) {
		machine := machine
		machine.Seed = &seed
		return vmlab.Run(ctx, s, machine)
	}, func(r hunt.Run) {
		_, _ = fmt.Fprintf(stderr, "seed %d: %s\n", r.Seed, r.Outcome())
		if r.Error != nil {
			_, _ = fmt.Fprintf(stderr, "  %v\n", r.Error)
		}
	})
	if err := context.Cause(ctx); err != nil {
		return unfinished(err)
	}
	again := func(seed int) string {
		return fmt.Sprintf("oomlab run %s --lab vm --kernel %s --cgroup %d --kubernetes %s --seed %d", name, kernel, o.vm.cgroup, o.kubernetes, seed)
	}
	groups := hunt.Groups(runs)
	catches := catchesOf(groups, again)
	if err := o.keep(s.Metadata.Name+"-"+filepath.Base(kernel), catches, runs); err != nil {
		return unfinished(fmt.Errorf("--save: %w", err))
	}
	if err := printAs(stdout, o.output, catches, func(w io.Writer) { printCatches(w, catches, len(runs)) }); err != nil {
		return err
	}
	return exitFor(hunt.Verdict(groups))
}

// catch is a group of seeds, and the lines that run each of them again, unless
// it is what most end like.
type catch struct {
	hunt.Group
	Again []string `json:"again,omitempty"`
}

func catchesOf(groups []hunt.Group, again func(seed int) string) []catch {
	catches := []catch{}
	for i, g := range groups {
		c := catch{Group: g}
		for _, seed := range g.Seeds {
			if i > 0 {
				c.Again = append(c.Again, again(seed))
			}
		}
		catches = append(catches, c)
	}
	return catches
}

// keep saves what ended unlike most: a record for each, and all the lines in
// one file. Where all ended alike there is nothing to save.
func (o huntOptions) keep(name string, catches []catch, runs []hunt.Run) error {
	records := map[int]*record.Record{}
	for _, r := range runs {
		records[r.Seed] = r.Record
	}
	var lines strings.Builder
	for _, c := range catches {
		for i, line := range c.Again {
			_, _ = fmt.Fprintf(&lines, "%s # %s\n", line, c.Outcome)
			seed := c.Seeds[i]
			if records[seed] == nil {
				continue
			}
			if err := writeRecord(filepath.Join(o.save, fmt.Sprintf("%s-seed%d.json", name, seed)), records[seed]); err != nil {
				return err
			}
		}
	}
	if lines.Len() == 0 {
		return nil
	}
	file := filepath.Join(o.save, name+".txt")
	return errors.Join(os.MkdirAll(o.save, 0o755), os.WriteFile(file, []byte(lines.String()), 0o644))
}

func printCatches(w io.Writer, catches []catch, runs int) {
	_, _ = fmt.Fprintln(w, "SEEDS\tVERDICT\tKILLED")
	for _, c := range catches {
		_, _ = fmt.Fprintf(w, "%d of %d\t%s\t%s\n", len(c.Seeds), runs, c.Verdict, c.Outcome)
	}
	for _, c := range catches {
		for _, line := range c.Again {
			_, _ = fmt.Fprintf(w, "\n%s\n# %s\n", line, c.Outcome)
		}
	}
}
