// Package lab holds what the labs have in common: the stressor's program and
// its command line. The labs themselves know nothing of each other.
package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/proc"
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// StressorEnv names a ready-made stressor program.
const StressorEnv = "OOMLAB_STRESSOR"

const stressorPackage = "github.com/oomlab/oomlab/stressor"

// Stressor returns the path of the stressor's program: the one that
// OOMLAB_STRESSOR names, or oomlab-stressor next to this program, or else one
// built from the sources that the working directory is in.
func Stressor(ctx context.Context) (string, error) {
	if path := os.Getenv(StressorEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", StressorEnv, err)
		}
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), "oomlab-stressor")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	dir, err := cache.Dir("stressor")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "oomlab-stressor")
	build := proc.Command(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, stressorPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := proc.Run(build); err != nil {
		return "", fmt.Errorf("build the stressor: %w\nrun make build, or name a built one in %s", err, StressorEnv)
	}
	return path, nil
}

// StressorArgs returns the arguments that make a stressor do what the container
// says. A balloon is blown up at once; pressure waits for SIGUSR1.
func StressorArgs(c scenarios.Container, stateDir string) []string {
	args := []string{"-start=now", "-plan=" + idle}
	switch {
	case c.Press != "":
		args = []string{"-start=signal", "-plan=" + c.Press + ", hold"}
	case c.Balloon != "":
		args[1] = "-plan=" + c.Balloon + ", hold"
	}
	if stateDir != "" {
		after := c.AfterRestart
		if after == "" {
			after = "small"
		}
		args = append(args, "-state="+stateDir, "-after-restart="+after)
	}
	return args
}

// Awaited returns the event of the stressor, and how often it has to come, that
// says that the container holds its balloon or is ready to press. Each process
// of a plan with children tells for itself.
func Awaited(c scenarios.Container) (event string, times int) {
	text, event := c.Balloon, "holding"
	if c.Press != "" {
		text, event = c.Press, "ready"
	}
	parsed, err := plan.Parse(text)
	switch {
	case err != nil || parsed.Children == 0: // no plan at all is idle
		return event, 1
	case c.Press != "":
		return event, 1 + parsed.Children
	}
	return event, parsed.Children
}

// idle is the plan of a container that holds nothing.
const idle = "hold"
