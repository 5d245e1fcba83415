package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oomlab/oomlab/internal/guestimage"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/kernelimage"
	"github.com/oomlab/oomlab/internal/lab/vmlab"
	"github.com/oomlab/oomlab/internal/nodeimage"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// defaultKernel is the series that Debian's current release has.
const defaultKernel = "6.12"

// noSeed says that the host's timing decides.
const noSeed = -1

// vmOptions are the flags of the vm lab.
type vmOptions struct {
	kernel       string
	cgroup, seed int
	// node, where it is not nil, is what the pods are run with: containerd and a
	// kubelet, without an API server.
	node *nodeimage.Recipe
}

func (o *vmOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.kernel, "kernel", defaultKernel, "vm lab: a series of `kernels`, a version, or the file of a bzImage")
	f.IntVar(&o.cgroup, "cgroup", 2, "vm lab: `version` of the cgroups, 1 or 2")
	f.IntVar(&o.seed, "seed", noSeed, "vm lab: run deterministically; each `number` from 0 is another schedule")
}

// openVM returns what runs a scenario in a virtual machine, and leaves its
// kernel's log beside the record, if there is one.
func (o vmOptions) openVM(ctx context.Context, kubelet qos.Version, recordFile string, stderr io.Writer) (player, error) {
	options, _, err := o.machine(ctx, kubelet, stderr)
	if err != nil {
		return nil, err
	}
	if recordFile != "" {
		options.Log = logBeside(recordFile)
	}
	return func(ctx context.Context, s *scenarios.Scenario, observe func(record.Event)) (*record.Record, error) {
		options := options
		options.Observe = observe
		return vmlab.Run(ctx, s, options)
	}, nil
}

// logBeside returns where the kernel's log lies next to a record.
func logBeside(recordFile string) string {
	return strings.TrimSuffix(recordFile, ".json") + ".kernel.log"
}

// machine prepares what a virtual machine is made from. kernel is what --kernel
// would have to be for exactly this one.
func (o vmOptions) machine(ctx context.Context, kubelet qos.Version, stderr io.Writer) (m vmlab.Options, kernel string, err error) {
	if o.cgroup != 1 && o.cgroup != 2 {
		return m, "", fmt.Errorf("--cgroup %d: want 1 or 2", o.cgroup)
	}
	if o.seed < noSeed {
		return m, "", fmt.Errorf("--seed %d: want 0 or more", o.seed)
	}
	image, err := findKernel(ctx, stderr, o.kernel)
	if err != nil {
		return m, "", err
	}
	if err := vmlab.Install(ctx, stderr); err != nil {
		return m, "", unfinished(err)
	}
	node, err := o.openNode(ctx, image, stderr)
	if err != nil {
		return m, "", err
	}
	m = vmlab.Options{Node: node, Kernel: image.File, KernelName: image.Package, Kubelet: kubelet, CgroupVersion: o.cgroup, Accelerator: vmlab.TCG}
	if o.seed != noSeed {
		m.Seed = &o.seed // which no accelerator but TCG can follow
	} else {
		proof, err := vmlab.Prove(ctx, image.File)
		if err != nil {
			return m, "", unfinished(err)
		}
		m.Accelerator = proof.Accelerator
	}
	return m, image.Version, nil
}

// openNode makes what a machine with a kubelet needs; nil without one.
func (o vmOptions) openNode(ctx context.Context, kernel kernelimage.Image, stderr io.Writer) (*vmlab.Node, error) {
	if o.node == nil {
		return nil, nil
	}
	disk, err := guestimage.Node(ctx, stderr, *o.node)
	if err != nil {
		return nil, unfinished(err)
	}
	node := &vmlab.Node{Disk: disk}
	if kernel.Version == kernel.File {
		return node, nil // what its machine needs must be built into it
	}
	modules, err := kernelimage.FetchModules(ctx, stderr, kernel)
	if err != nil {
		return nil, unfinished(err)
	}
	node.Modules, err = modules.Load(vmlab.NodeModules...)
	return node, unfinished(err)
}

// nodeRecipe is that of a node with this kubelet and containerd; empty versions
// are oomlab's own.
func nodeRecipe(kubelet, containerd string) *nodeimage.Recipe {
	return &nodeimage.Recipe{Kubelet: withV(kubelet), Containerd: withV(containerd)}
}

// withV writes a version as Kubernetes does: v1.37.2.
func withV(version string) string {
	if version == "" || strings.HasPrefix(version, "v") {
		return version
	}
	return "v" + version
}

// findKernel returns the kernel that --kernel names. What has a slash in it, or
// is there, is a file.
func findKernel(ctx context.Context, stderr io.Writer, query string) (kernelimage.Image, error) {
	info, statErr := os.Stat(query)
	switch {
	case statErr == nil && info.Mode().IsRegular():
		return kernelimage.Image{Version: query, Package: filepath.Base(query), File: query}, nil
	case strings.ContainsRune(query, filepath.Separator) && statErr == nil:
		return kernelimage.Image{}, fmt.Errorf("--kernel %s: want the file of a kernel", query)
	case strings.ContainsRune(query, filepath.Separator):
		return kernelimage.Image{}, fmt.Errorf("--kernel: %w", statErr)
	}
	image, err := kernelimage.Find(ctx, stderr, query)
	if errors.Is(err, kernelimage.ErrNotFound) {
		return image, fmt.Errorf("--kernel %s: %w", query, err)
	}
	return image, unfinished(err)
}

func newKernel() *cobra.Command {
	parent := &cobra.Command{Use: "kernel", Short: "Fetch and list the kernels that the vm lab boots"}
	fetch := &cobra.Command{
		Use: "fetch SERIES...", Short: "Fetch the newest kernel of each series from Debian", Args: cobra.MinimumNArgs(1),
		Example: "  oomlab kernel fetch 5.10 6.1 6.12 6.18 7.3",
		RunE: func(c *cobra.Command, queries []string) error {
			for _, query := range queries {
				image, err := kernelimage.Fetch(c.Context(), c.ErrOrStderr(), query)
				if errors.Is(err, kernelimage.ErrNotFound) {
					return err
				} else if err != nil {
					return unfinished(err)
				}
				_, _ = fmt.Fprintln(c.OutOrStdout(), image.File)
			}
			return nil
		},
	}
	var output string
	list := &cobra.Command{
		Use: "ls", Short: "List the kernels that have been fetched", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			images, err := kernelimage.Cached()
			if err != nil {
				return unfinished(err)
			}
			return printAs(c.OutOrStdout(), output, images, func(w io.Writer) {
				_, _ = fmt.Fprintln(w, "VERSION\tPACKAGE")
				for _, i := range images {
					_, _ = fmt.Fprintf(w, "%s\t%s\n", i.Version, i.Package)
				}
			})
		},
	}
	outputFlag(list, &output)
	parent.AddCommand(fetch, list)
	return parent
}

// vmRequirement says whether virtual machines run here, and how fast. It boots
// one if a kernel has been fetched.
func vmRequirement(ctx context.Context) host.Requirement {
	r := host.Requirement{Name: "virtual-machines", Remedy: "apt-get install --no-install-recommends " + vmlab.Package + "; oomlab run --lab vm does it by itself"}
	version, err := vmlab.Version(ctx)
	if err != nil {
		r.Proof = err.Error()
		return r
	}
	r.Proof = "QEMU " + version
	kernels, err := kernelimage.Cached()
	if err != nil || len(kernels) == 0 {
		r.Proof, r.Remedy = r.Proof+"; no kernel has been fetched to prove more", "oomlab kernel fetch "+defaultKernel
		return r
	}
	proof, err := vmlab.Prove(ctx, kernels[len(kernels)-1].File)
	if err != nil {
		r.Proof, r.Remedy = r.Proof+": "+err.Error(), ""
		return r
	}
	r.OK, r.Proof, r.Remedy = true, r.Proof+"; "+proof.Text, ""
	if proof.Accelerator == vmlab.KVM {
		r.Proof += " (untested: no run with KVM has been recorded)"
	}
	return r
}
