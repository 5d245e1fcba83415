package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/report"
	"github.com/oomlab/oomlab/scenarios"
)

// loadScenario reads a file, or a scenario of the catalog by its name.
func loadScenario(nameOrFile string) (*scenarios.Scenario, error) {
	if slices.Contains(scenarios.Names(), nameOrFile) {
		return scenarios.Named(nameOrFile)
	}
	f, err := os.Open(nameOrFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q is neither a file nor in the catalog: %s", scenarios.ErrNotFound, nameOrFile, strings.Join(scenarios.Names(), ", "))
	} else if err != nil {
		return nil, fmt.Errorf("open scenario: %w", err)
	}
	defer f.Close()
	return scenarios.Parse(nameOrFile, f)
}

func newScenarios() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "scenarios", Short: "List the scenarios of the catalog", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all []*scenarios.Scenario
			for _, name := range scenarios.Names() {
				s, err := scenarios.Named(name)
				if err != nil {
					return err
				}
				all = append(all, s)
			}
			if output == "markdown" {
				return report.Catalog(c.OutOrStdout(), all)
			}
			return printAs(c.OutOrStdout(), output, all, func(w io.Writer) {
				_, _ = fmt.Fprintln(w, "NAME\tDOMAIN\tLABELS\tTITLE")
				for _, s := range all {
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Metadata.Name, s.Node.Domain, strings.Join(s.Metadata.Labels, ","), s.Title)
				}
			})
		},
	}
	outputFlag(c, &output)
	c.Flag("output").Usage = "`format`: table, json or markdown (docs/catalog.md)"
	return c
}

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE...", Short: "Check scenario files", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			var errs []error
			for _, file := range files {
				if _, err := loadScenario(file); err != nil {
					errs = append(errs, err)
					continue
				}
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: ok\n", file)
			}
			return errors.Join(errs...)
		},
	}
}

func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "table", "`format`: table or json")
}

// printAs writes value as JSON, or as the table that table writes.
func printAs(w io.Writer, output string, value any, table func(io.Writer)) error {
	switch output {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case "table":
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		table(tab)
		return tab.Flush()
	}
	return fmt.Errorf("--output %q: want table or json", output)
}
