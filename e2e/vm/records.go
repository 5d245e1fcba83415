package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oomlab/oomlab/internal/record"
)

// noteMachine writes into every record in dir which machine it comes from. The
// suite sees a host like any other, and does not know that its clock is slow.
func noteMachine(dir string, vm *record.VM) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		r, err := record.Read(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("note in %s where it comes from: %w", file, err)
		}
		r.VM = vm
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("note in %s where it comes from: %w", file, err)
		}
	}
	return nil
}
