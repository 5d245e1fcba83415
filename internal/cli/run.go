package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/lab/kindlab"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/report"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

type runOptions struct {
	lab, output, record   string
	kubernetes, nodeImage string
	kubelet               string
	keep                  bool
	vm                    vmOptions
}

func newRun() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use: "run NAME|FILE", Short: "Run a scenario: predict, provoke, prove", Args: cobra.ExactArgs(1),
		Example: "  oomlab run qos-order --lab cgroup\n  oomlab run qos-order --lab vm --kernel 6.12\n  oomlab run qos-order --lab vm --kernel 6.12 --kubelet v1.37.2\n  oomlab run my-story.yaml --record run.json\n  oomlab run qos-order --kubernetes v1.36.3 --keep",
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c.Context(), args[0], c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.lab, "lab", "kind", "where: `kind`; cgroup: this kernel without Kubernetes; vm: another kernel")
	f.StringVar(&o.kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "`version` of Kubernetes")
	f.StringVar(&o.kubelet, "kubelet", "", "vm lab: run the pods with a kubelet of this `version`, without an API server")
	f.StringVar(&o.nodeImage, "node-image", "", "run this kind node `image` as it is")
	f.StringVar(&o.record, "record", "", "write the run record to this `file`")
	f.BoolVar(&o.keep, "keep", false, "keep the cluster and say how to reach it")
	o.vm.flags(f)
	outputFlag(c, &o.output)
	return c
}

func (o runOptions) run(ctx context.Context, name string, stdout, stderr io.Writer) (err error) {
	s, err := loadScenario(name)
	if err != nil {
		return err
	}
	if !s.Metadata.RunsIn(o.lab) {
		return fmt.Errorf("--lab %s: %s holds in another lab alone, by its labels: %s", o.lab, s.Metadata.Name, strings.Join(s.Metadata.Labels, ", "))
	}
	play, closeLab, err := o.openLab(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unfinished(closeLab())) }()

	story := report.NewStory(stdout)
	if o.output == "json" {
		story = report.NewStory(stderr)
	}
	story.Begin(s)
	r, err := play(ctx, s, story.Event)
	if r != nil && o.record != "" {
		if err := writeRecord(o.record, r); err != nil {
			return unfinished(err)
		}
	}
	if err != nil {
		return unfinished(err)
	}
	if o.output == "json" {
		if err := r.Write(stdout); err != nil {
			return unfinished(err)
		}
	} else {
		story.End(r)
	}
	return exitFor(r.Verdict)
}

// writeRecord writes a run record to a file, and makes its folder.
func writeRecord(file string, r *record.Record) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write run record: %w", err)
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write run record: %w", err)
	}
	return errors.Join(r.Write(f), f.Close())
}

// deleteTimeout bounds the removal of a cluster, which has to work after an
// interruption, too.
const deleteTimeout = 2 * time.Minute

// player runs a scenario in some lab and tells the story meanwhile.
type player func(context.Context, *scenarios.Scenario, func(record.Event)) (*record.Record, error)

// openLab returns what runs a scenario, and what ends the lab.
func (o runOptions) openLab(ctx context.Context, stderr io.Writer) (player, func() error, error) {
	nothing := func() error { return nil }
	kubelet, err := qos.ParseVersion(o.kubernetes)
	if err != nil {
		return nil, nil, fmt.Errorf("--kubernetes: %w", err)
	}
	if o.kubelet != "" {
		if o.lab != "vm" {
			return nil, nil, fmt.Errorf("--kubelet: want --lab vm; the kubelet of the %s lab is that of --kubernetes", o.lab)
		}
		if kubelet, err = qos.ParseVersion(o.kubelet); err != nil {
			return nil, nil, fmt.Errorf("--kubelet: %w", err)
		}
		o.vm.node = nodeRecipe(o.kubelet, "")
	}
	if o.lab == "vm" {
		play, err := o.vm.openVM(ctx, kubelet, o.record, stderr)
		return play, nothing, err
	}
	facts, err := host.Read()
	if err != nil {
		return nil, nil, unfinished(err)
	}
	here := func(lab run.Lab) player {
		return func(ctx context.Context, s *scenarios.Scenario, observe func(record.Event)) (*record.Record, error) {
			return run.Run(ctx, lab, s, run.Options{Host: facts.Record(), Observe: observe})
		}
	}
	switch o.lab {
	case "cgroup":
		lab, err := cgrouplab.New(ctx, cgrouplab.Options{Kubelet: kubelet, LowestAdj: facts.LowestAdj})
		return here(lab), nothing, unfinished(err)
	case "kind":
		cluster, err := kindlab.Up(ctx, kindlab.UpOptions{NodeImage: o.nodeImage, Kubernetes: o.kubernetes, Host: facts, Out: stderr})
		if err != nil {
			return nil, nil, unfinished(err)
		}
		end := func() error {
			if o.keep {
				_, _ = fmt.Fprintf(stderr, "kept cluster %s: export KUBECONFIG=%s; oomlab clean removes it\n", cluster.Name, cluster.Kubeconfig)
				return nil
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
			defer cancel()
			return cluster.Delete(ctx)
		}
		return here(cluster.Lab(cluster.Workers()[0])), end, nil
	}
	return nil, nil, fmt.Errorf("--lab %q: want kind, cgroup or vm", o.lab)
}

func newShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RECORD", Short: "Retell a run from its record", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := loadRecord(args[0])
			if err != nil {
				return err
			}
			story := report.NewStory(c.OutOrStdout())
			story.Begin(r.Scenario)
			for _, e := range r.Timeline {
				story.Event(e)
			}
			story.End(r)
			return nil
		},
	}
}
