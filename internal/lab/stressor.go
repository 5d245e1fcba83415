// Package lab holds what the labs have in common: the programs that they start,
// and the stressor's command line. The labs themselves know nothing of each
// other.
package lab

import (
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

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
	for _, beside := range c.Beside {
		args = append(args, "-beside="+beside)
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
