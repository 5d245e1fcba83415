package proc

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDaemon(t *testing.T) {
	dir := t.TempDir()
	d, err := StartDaemon(exec.Command("sh", "-c", "echo up; exec sleep 60"), filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	if err := d.Await(t.Context(), func() error {
		if asked++; asked < 3 {
			return errors.New("not yet")
		}
		return nil
	}); err != nil || asked != 3 || !d.Running() {
		t.Errorf("%v after %d questions, running %v", err, asked, d.Running())
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err = d.Await(short, func() error { return errors.New("no socket") })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("%v, want the time-out and what was missing", err)
	}
	d.Stop()
	if d.Running() {
		t.Error("it still runs")
	}
}

// A daemon that ends is not waited for, and its last words are told.
func TestDaemonThatEnds(t *testing.T) {
	d, err := StartDaemon(exec.Command("sh", "-c", "echo no such luck; exit 3"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Await(t.Context(), func() error { return errors.New("no socket") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("%v", err)
	}
	d.Stop()
}
