package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/report"
)

func newVerdicts() *cobra.Command {
	return &cobra.Command{
		Use: "verdicts FOLDER...", Short: "Say whether the same scenarios ended alike every time", Args: cobra.MinimumNArgs(1),
		Long: "Writes a table of verdicts: a line for each scenario, a column for each folder of run records.\n" +
			"The exit code is 1 if a scenario, or one of its claims, did not end the same in all of them.",
		Example: "  oomlab verdicts artifacts/soak/*   # after make soak",
		RunE: func(c *cobra.Command, folders []string) error {
			return verdicts(c.OutOrStdout(), folders)
		},
	}
}

func verdicts(stdout io.Writer, folders []string) error {
	var rounds []report.Round
	for _, folder := range folders {
		records, err := loadRecords(folder)
		if err != nil {
			return err
		}
		rounds = append(rounds, report.Round{Name: filepath.Base(folder), Records: records})
	}
	differing, err := report.Rounds(stdout, rounds)
	if err != nil {
		return unfinished(fmt.Errorf("write the verdicts: %w", err))
	}
	if differing > 0 {
		return &exitError{code: exitFail}
	}
	return nil
}
