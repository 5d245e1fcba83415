// Package lab holds what the labs have in common: the programs that they start,
// and the stressor's command line. The labs themselves know nothing of each
// other.
package lab

import (
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// Dirs are directories in the container. An empty one is not there.
type Dirs struct {
	State string // outlives the container
	Tmpfs string // the pod's emptyDir with medium Memory
	Disk  string // on a disk, for page cache
}

// StressorArgs returns the arguments that make a stressor do what the container
// says. A balloon is blown up at once; pressure waits for SIGUSR1.
func StressorArgs(c scenarios.Container, dirs Dirs) []string {
	text, presses := c.Plan()
	args := planArgs(c.Whole(text), presses)
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
	for flag, set := range map[string]bool{
		"-keep-files": c.KeepFiles, "-ignore-sigterm": c.IgnoreSIGTERM, "-ignore-children": c.IgnoreChildren,
	} {
		if set {
			args = append(args, flag)
		}
	}
	return args
}

// ExecArgs returns the arguments of the container's second process.
func ExecArgs(c scenarios.Container) []string { return planArgs(c.Whole(c.Exec), true) }

func planArgs(text string, presses bool) []string {
	start := "-start=now"
	if presses {
		start = "-start=signal"
	}
	return []string{start, "-plan=" + text}
}

// Awaited returns the event of the stressor, and how often it has to come, that
// says that the container holds its balloon or is ready to press. Each process
// of a plan with children tells for itself.
func Awaited(c scenarios.Container) (event string, times int) {
	text, presses := c.Plan()
	parsed, err := plan.Parse(text)
	switch children := parsed.Children; {
	case presses:
		return Ready, 1 + children
	case err != nil || children == 0: // no plan at all is idle
		return "holding", 1
	default:
		return "holding", children
	}
}

// Ready is the event of a stressor that waits for the pressure to begin.
const Ready = "ready"
