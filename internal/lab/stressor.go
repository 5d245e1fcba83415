// Package lab holds what the labs have in common: the programs that they start,
// and the stressor's command line. The labs themselves know nothing of each
// other.
package lab

import (
	"github.com/oomlab/oomlab/scenarios"
)

// StressorArgs returns the arguments that make a stressor do what the container
// says: a balloon is blown up at once, pressure waits for SIGUSR1. What a valid
// scenario cannot have, a plan that is none, is left to the stressor to refuse.
func StressorArgs(c scenarios.Container, stateDir string) []string {
	args := []string{"-plan=" + c.Balloon + c.Press}
	if whole, err := c.Plan(); err == nil {
		args[0] = "-plan=" + whole.String()
	}
	if request, ok := c.Sizes().Request.Bytes(); ok {
		args = append(args, "-request="+request.String())
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
