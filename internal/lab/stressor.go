// Package lab holds what the labs have in common: the programs that they start,
// and the stressor's command line. The labs themselves know nothing of each
// other.
package lab

import (
	"github.com/oomlab/oomlab/scenarios"
)

// Dirs are directories in the container. An empty one is not there.
type Dirs struct {
	State string // outlives the container
	Tmpfs string // the pod's emptyDir with medium Memory
	Disk  string // on a disk, for page cache
}

// StressorArgs returns the arguments that make a stressor do what the container
// says: a balloon is blown up at once, pressure waits for SIGUSR1. What a valid
// scenario cannot have, a plan that is none, is left to the stressor to refuse.
func StressorArgs(c scenarios.Container, dirs Dirs) []string {
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
	if dirs.State != "" {
		after := c.AfterRestart
		if after == "" {
			after = "small"
		}
		args = append(args, "-state="+dirs.State, "-after-restart="+after)
	}
	if dirs.Tmpfs != "" {
		args = append(args, "-tmpfs="+dirs.Tmpfs)
	}
	if dirs.Disk != "" {
		args = append(args, "-dir="+dirs.Disk)
	}
	if c.KeepFiles {
		args = append(args, "-keep-files")
	}
	if c.IgnoreSIGTERM {
		args = append(args, "-ignore-sigterm")
	}
	if c.IgnoreChildren {
		args = append(args, "-ignore-children")
	}
	return args
}
