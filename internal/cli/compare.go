package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/compare"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/report"
)

// comparisons are the forms of a comparison.
var comparisons = map[string]func(io.Writer, compare.Report) error{
	"text":     report.ComparisonText,
	"markdown": report.ComparisonMarkdown,
	"junit":    report.ComparisonJUnit,
	"json": func(w io.Writer, r compare.Report) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	},
}

func newCompare() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "compare OLD NEW", Short: "Say what behaves differently, and what explains it", Args: cobra.ExactArgs(2),
		Long: "Compares two run records, or two folders of records: what behaves differently, what is only\n" +
			"noise, which known change of kernel, kubelet or containerd explains it, and what nothing explains.\n" +
			"Records of one scenario in one folder are repetitions; with three or more on each side times and\n" +
			"sizes are compared, too. The exit code is 1 if something changed that nothing explains.",
		Example: "  oomlab compare old.json new.json\n  oomlab compare out/kind-v1.36.3 out/kind-v1.37.2 -o markdown",
		RunE: func(c *cobra.Command, args []string) error {
			write, ok := comparisons[output]
			if !ok {
				return fmt.Errorf("--output %q: want text, markdown, json or junit", output)
			}
			old, errOld := loadRuns(args[0])
			new, errNew := loadRuns(args[1])
			if err := errors.Join(errOld, errNew); err != nil {
				return err
			}
			r, err := compare.Compare(old, new)
			if err != nil {
				return err
			}
			r.Old, r.New = args[0], args[1]
			if err := write(c.OutOrStdout(), r); err != nil {
				return unfinished(fmt.Errorf("write the comparison: %w", err))
			}
			if r.Unexplained() > 0 {
				return &exitError{code: exitFail}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "`format`: text, markdown, json or junit")
	return c
}

// loadRecords is loadRuns for those who want nothing but the records.
func loadRecords(path string) (records []*record.Record, err error) {
	runs, err := loadRuns(path)
	for _, r := range runs {
		records = append(records, r.Record)
	}
	return records, err
}

// loadRuns reads a record, or all records of a folder and those below it. Other
// JSON files there, such as a test report, are passed over.
func loadRuns(path string) ([]compare.Run, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open run records: %w", err)
	}
	if !info.IsDir() {
		r, err := loadRecord(path)
		if err != nil {
			return nil, err
		}
		return []compare.Run{{Path: path, Record: r}}, nil
	}
	var runs []compare.Run
	var errs []error
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) != ".json" {
			return err
		}
		r, err := loadRecord(file)
		if errors.Is(err, errNoRecord) {
			return nil
		}
		errs = append(errs, err)
		if err == nil {
			group, _ := filepath.Rel(path, filepath.Dir(file))
			runs = append(runs, compare.Run{Path: file, Group: filepath.ToSlash(strings.TrimPrefix(group, ".")), Record: r})
		}
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("%s holds no run record: oomlab run --record writes one, oomlab matrix many", path)
	}
	return runs, nil
}

var errNoRecord = errors.New("no run record")

// loadRecord reads a run record. JSON of any other kind is errNoRecord.
func loadRecord(path string) (*record.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open run record: %w", err)
	}
	defer f.Close()
	var kind struct{ Schema string }
	var other *json.UnmarshalTypeError // a list, or another kind of schema
	if err := json.NewDecoder(f).Decode(&kind); errors.As(err, &other) || err == nil && !strings.HasPrefix(kind.Schema, record.Family) {
		return nil, fmt.Errorf("%s: %w", path, errNoRecord)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read run record %s: %w", path, err)
	}
	r, err := record.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
