package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/report"
	"github.com/oomlab/oomlab/scenarios"
)

func newPlatforms() *cobra.Command {
	return &cobra.Command{
		Use: "platforms RECORD...", Short: "Say where each scenario has really run, by run records", Args: cobra.MinimumNArgs(1),
		Long: "Writes a page with a table: a line for each scenario of the catalog, a column for each lab,\n" +
			"engine, version of cgroups, kernel and kubelet that the run records, or folders of them, are of.",
		Example: "  oomlab platforms artifacts/records artifacts/v2/records > docs/platforms.md",
		RunE: func(c *cobra.Command, paths []string) error {
			var records []*record.Record
			for _, path := range paths {
				found, err := loadRecords(path)
				if err != nil {
					return err
				}
				records = append(records, found...)
			}
			if err := report.Platforms(c.OutOrStdout(), scenarios.Names(), records); err != nil {
				return unfinished(fmt.Errorf("write the platforms: %w", err))
			}
			return nil
		},
	}
}
