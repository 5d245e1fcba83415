package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/engine"
	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/lab/kindlab"
	"github.com/oomlab/oomlab/internal/nodeimage"
)

func newNodeImage() *cobra.Command {
	parent := &cobra.Command{Use: "node-image", Short: "Build and list the images of kind's nodes"}
	var o nodeimage.Options
	build := &cobra.Command{
		Use: "build", Short: "Make sure that a node image is there: pulled, or built", Args: cobra.NoArgs,
		Example: "  oomlab node-image build --kubernetes v1.36.3",
		RunE: func(c *cobra.Command, _ []string) error {
			e, err := engine.Find(c.Context(), engine.Options{Out: c.ErrOrStderr()})
			if err != nil {
				return unfinished(err)
			}
			o.Progress = c.ErrOrStderr()
			ref, err := nodeimage.Ensure(c.Context(), e, o)
			if err != nil {
				return unfinished(err)
			}
			_, _ = fmt.Fprintln(c.OutOrStdout(), ref)
			return nil
		},
	}
	f := build.Flags()
	f.StringVar(&o.Ref, "ref", "", "use this `image` as it is, pulled if need be")
	f.StringVar(&o.Recipe.Kubernetes, "kubernetes", nodeimage.DefaultKubernetes, "`version`, v1.34 to v1.37")
	f.StringVar(&o.Recipe.Kubelet, "kubelet", "", "another `version` of the kubelet, for workers")
	f.StringVar(&o.Recipe.Containerd, "containerd", nodeimage.DefaultContainerd, "`version` of containerd")
	f.BoolVar(&o.Build, "from-source", false, "build it even if kindest/node can be pulled")
	var output string
	list := &cobra.Command{
		Use: "ls", Short: "List the node images that were built", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			e, err := engine.Find(c.Context(), engine.Options{NoInstall: true})
			if err != nil {
				return unfinished(err)
			}
			images, err := nodeimage.List(c.Context(), e)
			if err != nil {
				return unfinished(err)
			}
			return printAs(c.OutOrStdout(), output, images, func(w io.Writer) {
				_, _ = fmt.Fprintln(w, "IMAGE\tSIZE\tBUILT")
				for _, i := range images {
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", i.Ref, i.SizeBytes.Human(), i.BuiltAt.Format("2006-01-02 15:04"))
				}
			})
		},
	}
	outputFlag(list, &output)
	parent.AddCommand(build, list)
	return parent
}

func newDoctor() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "doctor", Short: "Say what this machine can do, with proof and remedy", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			report, err := host.Probe(c.Context())
			if err != nil {
				return unfinished(err)
			}
			report.Requirements = append(report.Requirements, engineRequirement(c.Context()), vmRequirement(c.Context()))
			return printAs(c.OutOrStdout(), output, report, func(w io.Writer) {
				_, _ = fmt.Fprintln(w, "REQUIREMENT\tOK\tPROOF")
				for _, r := range report.Requirements {
					ok := "yes"
					if !r.OK {
						ok = "no"
					}
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, ok, strings.ReplaceAll(r.Proof, "\n", "; "))
					if !r.OK && r.Remedy != "" {
						_, _ = fmt.Fprintf(w, "\t\t→ %s\n", r.Remedy)
					}
				}
			})
		},
	}
	outputFlag(c, &output)
	return c
}

func engineRequirement(ctx context.Context) host.Requirement {
	r := host.Requirement{Name: "container-engine"}
	e, err := engine.Find(ctx, engine.Options{NoInstall: true})
	if err != nil {
		r.Proof, r.Remedy = err.Error(), "make e2e installs podman on Debian and Ubuntu"
		return r
	}
	r.OK, r.Proof = true, fmt.Sprintf("%s %s: %s", e.Name, e.Version, e.Proof)
	if e.Name == "docker" {
		r.Proof += " (untested: no run on docker has been recorded)"
	}
	return r
}

func newClean() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "clean", Short: "Remove what ended runs have left: clusters, kept ones too, containers and cgroups", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			say := func(what string) { _, _ = fmt.Fprintln(c.OutOrStdout(), what) }
			err := cgrouplab.Clean(say)
			e, engineErr := engine.Find(c.Context(), engine.Options{NoInstall: true})
			if errors.Is(engineErr, engine.ErrNone) {
				return unfinished(err) // without an engine there are no clusters
			} else if engineErr != nil {
				return unfinished(errors.Join(err, engineErr))
			}
			return unfinished(errors.Join(err, kindlab.Clean(c.Context(), e, all, say)))
		},
	}
	c.Flags().BoolVar(&all, "all", false, "remove the clusters that a running oomlab uses, too")
	return c
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of oomlab", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			version := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
			}
			_, _ = fmt.Fprintf(c.OutOrStdout(), "oomlab %s, Kubernetes %s by default\n", version, nodeimage.DefaultKubernetes)
		},
	}
}
