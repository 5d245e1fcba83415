package selfcheck

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Schema is the version of the format of a Finding.
const Schema = "oomlab.dev/selfcheck/v1"

// Finding is an experiment that a reader should look at. It can be played again.
type Finding struct {
	Schema string `json:"schema"`
	// Kind is forecast-disagrees, replay-disagrees, needless-kill, or
	// sources-differ: the log, the trace and the processes' ends do.
	Kind      string    `json:"kind"`
	Judgement Judgement `json:"judgement"`
	Played
}

// kind names what is to be found in the experiment, "" if nothing.
func (j Judgement) kind() string {
	switch {
	case j.Replay == Disagrees:
		return "replay-disagrees"
	case j.Forecast == Disagrees:
		return "forecast-disagrees"
	case len(j.Needless) > 0:
		return "needless-kill"
	}
	return ""
}

func (f Finding) save(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("save a finding: %w", err)
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("save a finding: %w", err)
	}
	if err := os.WriteFile(name, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("save a finding: %w", err)
	}
	return nil
}

// ReadFinding reads what a check has saved.
func ReadFinding(r io.Reader) (Finding, error) {
	var f Finding
	if err := json.NewDecoder(r).Decode(&f); err != nil {
		return f, fmt.Errorf("read a finding: %w", err)
	}
	if f.Schema != Schema {
		return f, fmt.Errorf("read a finding: schema %q: this oomlab reads %s", f.Schema, Schema)
	}
	return f, f.Experiment.Validate()
}
