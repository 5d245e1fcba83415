package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/matrix"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

type matrixOptions struct {
	lab, out, output                       string
	kubernetes                             string
	kernels, kubelets, containerd, cgroups []string
	nodeImages                             []string
	scenarios                              []string
	repeat, parallel                       int
	seeded                                 bool
}

func newMatrix() *cobra.Command {
	var o matrixOptions
	c := &cobra.Command{
		Use: "matrix", Short: "Run scenarios on several kernels, kubelets and runtimes, for compare", Args: cobra.NoArgs,
		Long: "Runs scenarios in several cells, each of them several times, and keeps the record of each run as\n" +
			"OUT/CELL/SCENARIO-N.json. Cells take turns. What is there already is kept, so that the same command\n" +
			"goes on where it was interrupted. In the kind lab there is one cluster with a worker for each cell,\n" +
			"in the vm lab each run has a machine of its own.",
		Example: "  oomlab matrix --kubelets v1.36.3,v1.37.2 --scenarios qos-order,container-limit --out upgrade\n" +
			"  oomlab compare upgrade/kubelet-v1.36.3 upgrade/kubelet-v1.37.2\n" +
			"  oomlab matrix --lab vm --kernels 5.10,6.12,7.3 --cgroup v1,v2 --scenarios qos-order --out kernels\n" +
			"  oomlab matrix --node-images my/node:october,my/node:november --out upgrade",
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.lab, "lab", "kind", "where: `kind`; cgroup: this kernel without Kubernetes; vm: other kernels")
	f.StringVar(&o.out, "out", "", "`folder` for the records (required)")
	f.StringVar(&o.kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "`version` of the cluster; kubelets may be up to three minors older")
	f.StringSliceVar(&o.kernels, "kernels", nil, "vm lab: `series`, versions, or files of kernels")
	f.StringSliceVar(&o.kubelets, "kubelets", nil, "`versions` of the kubelet; in the cgroup lab, of its formulas; in the vm lab each machine has one, without an API server")
	f.StringSliceVar(&o.containerd, "containerd", nil, "`versions` of containerd")
	f.StringSliceVar(&o.cgroups, "cgroup", nil, "vm lab: `versions` of cgroups, v1 or v2, which is the default")
	f.StringSliceVar(&o.nodeImages, "node-images", nil, "kind node `images`, each as it is; the last one, which is the control plane's too, is the newest")
	f.StringSliceVar(&o.scenarios, "scenarios", nil, "`names` or files; all quick ones of the catalog by default")
	f.IntVar(&o.repeat, "repeat", 3, "`number` of runs of each scenario in each cell; compare wants three")
	f.IntVar(&o.parallel, "parallel", 0, "at most so many `runs` at once; as many as the lab and this machine allow by default")
	f.BoolVar(&o.seeded, "seeded", false, "vm lab: run deterministically, each repetition with a seed of its own, from 0")
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
	printMatrixCounts(stderr, runs)
	return exitFor(matrix.Verdict(runs))
}

// plan says what is to be run, or what is wrong with the flags.
func (o matrixOptions) plan() (matrix.Plan, error) {
	cells, err := o.cells()
	errs := []error{o.misplaced(), err}
	if o.repeat < 1 || o.parallel < 0 {
		errs = append(errs, fmt.Errorf("--repeat %d --parallel %d: want at least 1", o.repeat, o.parallel))
	}
	for _, v := range append([]string{o.kubernetes}, o.kubelets...) {
		_, err := qos.ParseVersion(v)
		errs = append(errs, err)
	}
	for _, v := range o.cgroups {
		if v != "v1" && v != "v2" {
			errs = append(errs, fmt.Errorf("--cgroup %q: want v1 or v2", v))
		}
	}
	chosen, err := o.chosen()
	errs = append(errs, err)
	return matrix.Plan{Dir: o.out, Lab: o.lab, Cells: cells, Scenarios: chosen, Repeat: o.repeat, Seeded: o.seeded}, errors.Join(errs...)
}

// misplaced says which flags the lab has no use for.
func (o matrixOptions) misplaced() error {
	var errs []error
	if !slices.Contains([]string{"kind", "cgroup", "vm"}, o.lab) {
		errs = append(errs, fmt.Errorf("--lab %q: want kind, cgroup or vm", o.lab))
	}
	if o.lab != "kind" && len(o.nodeImages) > 0 {
		errs = append(errs, fmt.Errorf("--node-images: the %s lab has none: use --lab kind", o.lab))
	}
	if o.lab == "cgroup" && len(o.containerd) > 0 {
		errs = append(errs, errors.New("--containerd: the cgroup lab has none: use --lab kind or vm"))
	}
	if o.vmNodes() && (o.seeded || slices.Contains(o.cgroups, "v1")) {
		errs = append(errs, errors.New("--kubelets, --containerd: a machine with a kubelet has a disk, which no seed decides, and cgroup v2 alone: leave --seeded and --cgroup v1 out"))
	}
	if o.lab != "vm" && (len(o.kernels)+len(o.cgroups) > 0 || o.seeded) {
		errs = append(errs, fmt.Errorf("--kernels, --cgroup, --seeded: the %s lab runs on this machine's kernel: use --lab vm", o.lab))
	}
	if len(o.nodeImages) > 0 && len(o.kubelets)+len(o.containerd) > 0 {
		errs = append(errs, errors.New("--node-images: an image brings its kubelet and containerd along: leave --kubelets and --containerd out"))
	}
	return errors.Join(errs...)
}

// cells returns the combinations of what is given; of what the lab has by
// default if nothing is.
func (o matrixOptions) cells() ([]matrix.Cell, error) {
	if o.lab == "vm" && len(o.kernels) == 0 {
		o.kernels = []string{defaultKernel}
	}
	if len(o.kernels)+len(o.kubelets)+len(o.containerd)+len(o.nodeImages) == 0 {
		o.kubelets = []string{o.kubernetes}
	}
	return matrix.Cells(
		matrix.Axis{Name: matrix.Kernel, Values: o.kernels},
		matrix.Axis{Name: matrix.NodeImage, Values: o.nodeImages},
		matrix.Axis{Name: matrix.Kubelet, Values: o.kubelets},
		matrix.Axis{Name: matrix.Containerd, Values: o.containerd},
		matrix.Axis{Name: matrix.Cgroup, Values: o.cgroups})
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
		case byDefault && (s.Control != nil || !s.Metadata.RunsIn(o.lab) || !slices.Contains(s.Metadata.Labels, "quick")):
		case s.Control != nil:
			errs = append(errs, fmt.Errorf("--scenarios: %s must fail, to prove that its claim can: there is nothing to compare", name))
		case !s.Metadata.RunsIn(o.lab):
			errs = append(errs, fmt.Errorf("--scenarios: %s does not hold in the %s lab, by its labels: %s", name, o.lab, strings.Join(s.Metadata.Labels, ", ")))
		case seen[s.Metadata.Name]:
			errs = append(errs, fmt.Errorf("--scenarios: %s is there twice", s.Metadata.Name))
		default:
			seen[s.Metadata.Name] = true
			chosen = append(chosen, s)
		}
	}
	return chosen, errors.Join(errs...)
}
