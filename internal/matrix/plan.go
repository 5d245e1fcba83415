package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// Run is one run of a scenario in a cell.
type Run struct {
	Cell     Cell
	Scenario *scenarios.Scenario
	N        int    // which repetition, from 1
	Path     string // of its record
	// Kept says that the record was there before.
	Kept bool
	// Redo says why a record that was there is made again.
	Redo string
	// Record is nil for a run that is not done, or that got nowhere.
	Record *record.Record
	// Err is why the run could not be finished.
	Err error
}

// Seed is that of the run where runs are seeded.
func (r *Run) Seed() int { return r.N - 1 }

// done reports that the run proves something.
func (r *Run) done() bool { return r.Record != nil && r.Err == nil }

// Verdict is the record's; inconclusive where the run could not be finished.
func (r *Run) Verdict() record.Verdict {
	if r.done() {
		return r.Record.Verdict
	}
	return record.Inconclusive
}

// Plan says what is to be run, and where.
type Plan struct {
	Dir       string
	Lab       string // the records' lab
	Cells     []Cell
	Scenarios []*scenarios.Scenario
	Repeat    int // runs of each scenario in each cell, at least 1
	// Seeded says that repetition N is the deterministic run of seed N-1.
	Seeded bool
}

// Runs returns every run in the order in which they are to be made, with the
// records that are there. Cells take turns, so that whatever changes on the
// machine meanwhile meets all of them alike, and each repetition goes through
// them the other way round, so that none is always the last.
func (p Plan) Runs() []*Run {
	var runs []*Run
	for n := 1; n <= p.Repeat; n++ {
		for _, s := range p.Scenarios {
			cells := slices.Clone(p.Cells)
			if n%2 == 0 {
				slices.Reverse(cells)
			}
			for _, c := range cells {
				r := &Run{Cell: c, Scenario: s, N: n}
				r.Path = filepath.Join(p.Dir, filepath.FromSlash(c.Path), fmt.Sprintf("%s-%d.json", s.Metadata.Name, n))
				r.look(p)
				runs = append(runs, r)
			}
		}
	}
	return runs
}

// look takes over the record that is there, if it can be kept.
func (r *Run) look(p Plan) {
	rec, err := readRecord(r.Path)
	if err == nil {
		err = r.usable(rec, p)
	}
	switch {
	case err == nil:
		r.Record, r.Kept = rec, true
	case !errors.Is(err, fs.ErrNotExist):
		r.Redo = err.Error()
	}
}

func readRecord(path string) (*record.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return record.Read(f)
}

// usable reports why a record does not stand for this run.
func (r *Run) usable(rec *record.Record, p Plan) error {
	switch {
	case rec.Error != "":
		return fmt.Errorf("it could not be finished: %s", rec.Error)
	case rec.Lab != p.Lab:
		return fmt.Errorf("it is of the %s lab", rec.Lab)
	case !same(rec.Scenario, r.Scenario):
		return errors.New("the scenario was another one")
	case rec.VM != nil && p.Seeded != (rec.VM.Seed != nil), p.Seeded && *rec.VM.Seed != r.Seed():
		return errors.New("the seed was another one")
	}
	return r.Cell.check(rec)
}

func same(a, b *scenarios.Scenario) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// write puts the record in its place, whole or not at all.
func (r *Run) write() error {
	if err := os.MkdirAll(filepath.Dir(r.Path), 0o755); err != nil {
		return fmt.Errorf("keep a record: %w", err)
	}
	partial := r.Path + ".partial"
	f, err := os.Create(partial)
	if err != nil {
		return fmt.Errorf("keep a record: %w", err)
	}
	if err := errors.Join(r.Record.Write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, r.Path); err != nil {
		return fmt.Errorf("keep a record: %w", err)
	}
	return nil
}

// Verdict sums up: fail if any run fails; inconclusive if any was, or could not
// be finished; unsupported if nothing else was seen.
func Verdict(runs []*Run) record.Verdict {
	for _, v := range []record.Verdict{record.Fail, record.Inconclusive, record.Pass} {
		if slices.ContainsFunc(runs, func(r *Run) bool { return r.Verdict() == v }) {
			return v
		}
	}
	return record.Unsupported
}
