package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/lab/kindlab"
	"github.com/oomlab/oomlab/internal/matrix"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

type matrixOptions struct {
	lab, out, output     string
	kubernetes           string
	kubelets, containerd []string
	nodeImages           []string
	scenarios            []string
	repeat, parallel     int
}

func newMatrix() *cobra.Command {
	var o matrixOptions
	c := &cobra.Command{
		Use: "matrix", Short: "Run scenarios with several kubelets and runtimes, for compare", Args: cobra.NoArgs,
		Long: "Runs scenarios in several cells, each of them several times, and keeps the record of each run as\n" +
			"OUT/CELL/SCENARIO-N.json. Cells take turns. What is there already is kept, so that the same command\n" +
			"goes on where it was interrupted. In the kind lab there is one cluster with a worker for each cell.",
		Example: "  oomlab matrix --kubelets v1.36.3,v1.37.2 --scenarios qos-order,container-limit --out upgrade\n" +
			"  oomlab compare upgrade/kubelet-v1.36.3 upgrade/kubelet-v1.37.2\n" +
			"  oomlab matrix --node-images my/node:october,my/node:november --out upgrade",
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.lab, "lab", "kind", "where: `kind`, or cgroup: this kernel without Kubernetes")
	f.StringVar(&o.out, "out", "", "`folder` for the records (required)")
	f.StringVar(&o.kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "`version` of the cluster; kubelets may be up to three minors older")
	f.StringSliceVar(&o.kubelets, "kubelets", nil, "`versions` of the kubelet; in the cgroup lab, of its formulas")
	f.StringSliceVar(&o.containerd, "containerd", nil, "`versions` of containerd")
	f.StringSliceVar(&o.nodeImages, "node-images", nil, "kind node `images`, each as it is; the last one, which is the control plane's too, is the newest")
	f.StringSliceVar(&o.scenarios, "scenarios", nil, "`names` or files; all quick ones of the catalog by default")
	f.IntVar(&o.repeat, "repeat", 3, "`number` of runs of each scenario in each cell; compare wants three")
	f.IntVar(&o.parallel, "parallel", 0, "at most so many `runs` at once; as many as the lab and this machine allow by default")
	_ = c.MarkFlagRequired("out") // it exists
	outputFlag(c, &o.output)
	return c
}

func (o matrixOptions) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	plan, err := o.plan()
	if err != nil {
		return err
	}
	runs := plan.Runs()
	progress := matrixProgress{out: stderr, all: runs}
	if progress.found() > 0 {
		if err := o.make(ctx, plan, runs, &progress); err != nil {
			return unfinished(fmt.Errorf("%w (what is done is kept: the same command goes on from there)", err))
		}
	}
	if err := printAs(stdout, o.output, matrixSummary(runs), func(w io.Writer) { printMatrix(w, plan, runs) }); err != nil {
		return err
	}
	if len(plan.Cells) > 1 {
		first, last := plan.Cells[0].Path, plan.Cells[len(plan.Cells)-1].Path
		_, _ = fmt.Fprintf(stderr, "what changed: oomlab compare %s %s\n", filepath.Join(o.out, first), filepath.Join(o.out, last))
	}
	return exitFor(matrix.Verdict(runs))
}

// plan says what is to be run, or what is wrong with the flags.
func (o matrixOptions) plan() (p matrix.Plan, err error) {
	var errs []error
	if o.repeat < 1 || o.parallel < 0 {
		errs = append(errs, fmt.Errorf("--repeat %d --parallel %d: want at least 1", o.repeat, o.parallel))
	}
	if o.lab != "kind" && o.lab != "cgroup" {
		errs = append(errs, fmt.Errorf("--lab %q: want kind or cgroup", o.lab))
	}
	if o.lab == "cgroup" && len(o.containerd)+len(o.nodeImages) > 0 {
		errs = append(errs, errors.New("--containerd, --node-images: the cgroup lab has neither: use --lab kind"))
	}
	if len(o.nodeImages) > 0 && len(o.kubelets)+len(o.containerd) > 0 {
		errs = append(errs, errors.New("--node-images: an image brings its kubelet and containerd along: leave --kubelets and --containerd out"))
	}
	kubelets := o.kubelets
	if len(o.kubelets)+len(o.containerd)+len(o.nodeImages) == 0 {
		kubelets = []string{o.kubernetes}
	}
	for _, v := range append([]string{o.kubernetes}, kubelets...) {
		_, err := qos.ParseVersion(v)
		errs = append(errs, err)
	}
	cells, err := matrix.Cells(
		matrix.Axis{Name: matrix.NodeImage, Values: o.nodeImages},
		matrix.Axis{Name: matrix.Kubelet, Values: kubelets},
		matrix.Axis{Name: matrix.Containerd, Values: o.containerd})
	errs = append(errs, err)
	chosen, err := o.chosen()
	errs = append(errs, err)
	return matrix.Plan{Dir: o.out, Lab: o.lab, Cells: cells, Scenarios: chosen, Repeat: o.repeat}, errors.Join(errs...)
}

// chosen returns the scenarios to run.
func (o matrixOptions) chosen() ([]*scenarios.Scenario, error) {
	names := o.scenarios
	byDefault := len(names) == 0
	if byDefault {
		names = scenarios.Names()
	}
	var chosen []*scenarios.Scenario
	var errs []error
	seen := map[string]bool{}
	for _, name := range names {
		s, err := loadScenario(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case byDefault && (s.Control != nil || !slices.Contains(s.Metadata.Labels, "quick")):
		case s.Control != nil:
			errs = append(errs, fmt.Errorf("--scenarios: %s must fail, to prove that its claim can: there is nothing to compare", name))
		case seen[s.Metadata.Name]:
			errs = append(errs, fmt.Errorf("--scenarios: %s is there twice", s.Metadata.Name))
		default:
			seen[s.Metadata.Name] = true
			chosen = append(chosen, s)
		}
	}
	return chosen, errors.Join(errs...)
}

// make brings the lab up and makes the runs that are missing.
func (o matrixOptions) make(ctx context.Context, plan matrix.Plan, runs []*matrix.Run, progress *matrixProgress) (err error) {
	lab, end, err := o.openLab(ctx, plan.Cells, progress.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if o.parallel > 0 {
		lab.AtOnce = min(lab.AtOnce, o.parallel)
	}
	progress.say("%d runs to make, %d at once", len(runs)-progress.ended, lab.AtOnce)
	return lab.Make(ctx, runs, progress.begin, progress.end)
}

// openLab returns a lab with a place for each cell, and what ends it.
func (o matrixOptions) openLab(ctx context.Context, cells []matrix.Cell, out io.Writer) (lab matrix.Lab, end func() error, err error) {
	facts, err := host.Read()
	if err != nil {
		return lab, nil, err
	}
	places := map[string]run.Lab{} // by the cell's path
	lab = matrix.Lab{
		AtOnce: 1,
		Needs:  func(s *scenarios.Scenario) mem.Bytes { return s.Node.Memory.Bytes },
		Free: func() (mem.Bytes, error) {
			available, err := evidence.MemAvailable()
			return available - run.HostReserve, err
		},
		Play: func(ctx context.Context, c matrix.Cell, s *scenarios.Scenario) (*record.Record, error) {
			return run.Run(ctx, places[c.Path], s, run.Options{Host: facts.Record()})
		},
	}
	if o.lab == "cgroup" {
		for _, c := range cells {
			version, err := qos.ParseVersion(c.Value(matrix.Kubelet))
			if err != nil {
				return lab, nil, err
			}
			if places[c.Path], err = cgrouplab.New(ctx, version, facts.LowestAdj); err != nil {
				return lab, nil, err
			}
		}
		return lab, func() error { return nil }, nil
	}
	cluster, err := o.openKind(ctx, cells, facts, out)
	if err != nil {
		return lab, nil, err
	}
	for i, worker := range cluster.Workers() {
		places[cells[i].Path] = cluster.Lab(worker)
	}
	lab.AtOnce, lab.OneInCell = min(len(cells), runtime.NumCPU()), true
	return lab, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		return cluster.Delete(ctx)
	}, nil
}

// openKind makes a cluster with a worker for each cell, in their order.
func (o matrixOptions) openKind(ctx context.Context, cells []matrix.Cell, facts host.Facts, out io.Writer) (*kindlab.Cluster, error) {
	up := kindlab.UpOptions{Kubernetes: o.kubernetes, Host: facts, Out: out}
	if n := len(o.nodeImages); n > 0 {
		up.NodeImage = o.nodeImages[n-1]
	}
	for _, c := range cells {
		up.Workers = append(up.Workers, nodeimage.Options{Ref: c.Value(matrix.NodeImage), Recipe: nodeimage.Recipe{
			Kubernetes: o.kubernetes, Kubelet: c.Value(matrix.Kubelet), Containerd: c.Value(matrix.Containerd),
		}})
	}
	return kindlab.Up(ctx, up)
}

// matrixProgress tells people how far it is.
type matrixProgress struct {
	out     io.Writer
	all     []*matrix.Run
	ended   int
	started map[*matrix.Run]time.Time
}

func (p *matrixProgress) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}

// found tells what is there already, and returns how many runs are missing.
func (p *matrixProgress) found() (missing int) {
	p.started = map[*matrix.Run]time.Time{}
	for _, r := range p.all {
		if r.Kept {
			p.ended++
		}
		if r.Redo != "" {
			p.say("made again: %s: %s", r.Path, r.Redo)
		}
	}
	if p.ended > 0 {
		p.say("kept: %d of %d records", p.ended, len(p.all))
	}
	return len(p.all) - p.ended
}

func (p *matrixProgress) begin(r *matrix.Run) { p.started[r] = time.Now() }

func (p *matrixProgress) end(r *matrix.Run) {
	p.ended++
	text := string(r.Verdict())
	if r.Err != nil {
		text = "could not be finished: " + strings.ReplaceAll(r.Err.Error(), "\n", "; ")
	}
	p.say("%3d of %d %s %s %d: %s after %.0f s", p.ended, len(p.all), r.Cell.Path, r.Scenario.Metadata.Name, r.N, text, time.Since(p.started[r]).Seconds())
}
