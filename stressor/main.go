// Oomlab-stressor holds memory by a plan: a balloon for Kubernetes nodes.
//
//	oomlab-stressor -plan 'ramp 80% of limit at 10Mi/s, hold'
//
// It is made to be the only process of a container, and to cost next to
// nothing itself. docs/stressor.md describes plans, events, commands and exit
// codes, and shows a Pod.
package main

import (
	"errors"
	"flag"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

const (
	exitDone  = 0 // the plan ended, or SIGTERM
	exitError = 1 // memory of this kind cannot be had here
	exitUsage = 2 // bad flags or a bad plan
)

// options are the flags.
type options struct {
	plan, start, afterRestart, state string
	limit, request                   string
	dir, tmpfs                       string
}

func main() {
	// One processor for the balloon and one for its commands. Following a plan
	// allocates nothing, so the garbage collector would only cost memory.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(-1)
	os.Exit(run())
}

func run() int {
	var o options
	flag.StringVar(&o.plan, "plan", "", "what to hold and when, such as 'fill 150Mi, hold'")
	flag.StringVar(&o.start, "start", "now", "when to begin: `now`, or on signal (SIGUSR1)")
	flag.StringVar(&o.afterRestart, "after-restart", "small", "what a restarted container does: `small` holds nothing, wait waits for SIGUSR1, again begins again")
	flag.StringVar(&o.state, "state", "", "`directory` that survives restarts of the container; without it no restart is noticed")
	flag.StringVar(&o.limit, "limit", "", "the container's memory `limit`, if not its cgroup's")
	flag.StringVar(&o.request, "request", os.Getenv("MEMORY_REQUEST"), "the container's memory `request`; default $MEMORY_REQUEST")
	flag.StringVar(&o.dir, "dir", "/tmp", "`directory` on a disk, for the kinds file, dirty and mapped")
	flag.StringVar(&o.tmpfs, "tmpfs", "/dev/shm", "`directory` on a tmpfs, for the kind tmpfs")
	flag.Parse()

	p, curve, container, err := o.read()
	if err != nil {
		complain(err)
		return exitUsage
	}
	events, err := balloon.NewEvents(unix.Stdout)
	if err != nil {
		complain(err)
		return exitError
	}
	commands := make(chan balloon.Command, 16)
	balloon.Signals(commands)
	go balloon.ReadLines(os.Stdin, commands, events)
	b := &balloon.Balloon{
		Events: events, Commands: commands, Container: container, Threads: p.Threads, Dir: o.dir, TmpfsDir: o.tmpfs,
	}
	if err := balloon.DropCode(); err != nil {
		complain(err)
		return exitError
	}
	switch err := o.inflate(b, curve); {
	case errors.Is(err, balloon.ErrTerminated):
		events.Emit("terminated", 0)
		return exitDone
	case err != nil:
		events.Error(err)
		complain(err)
		return exitError
	}
	events.Emit("done", 0)
	return exitDone
}

// read checks the flags and works out the plan's curve.
func (o options) read() (plan.Plan, plan.Curve, plan.Container, error) {
	var c plan.Container
	if flag.NArg() > 0 || o.plan == "" {
		return plan.Plan{}, plan.Curve{}, c, errors.New("want -plan 'PLAN' and no other arguments; -help lists the flags")
	}
	if o.start != "now" && o.start != "signal" {
		return plan.Plan{}, plan.Curve{}, c, errors.New("-start is now or signal")
	}
	if o.afterRestart != "small" && o.afterRestart != "wait" && o.afterRestart != "again" {
		return plan.Plan{}, plan.Curve{}, c, errors.New("-after-restart is small, wait or again")
	}
	p, err := plan.Parse(o.plan)
	if err != nil {
		return p, plan.Curve{}, c, err
	}
	if c, err = o.container(); err != nil {
		return p, plan.Curve{}, c, err
	}
	curve, err := p.Curve(c)
	return p, curve, c, err
}

// container finds out what the sizes of the plan are relative to.
func (o options) container() (plan.Container, error) {
	var c plan.Container
	var err, machineErr error
	if o.limit != "" {
		c.Limit, err = parseLimit(o.limit)
	} else if limit, readErr := balloon.ReadLimit(); readErr == nil {
		c.Limit = limit // unknown is no error unless the plan refers to it
	}
	if err != nil {
		return c, err
	}
	if o.request != "" {
		if c.Request, err = parseLimit(o.request); err != nil {
			return c, err
		}
	}
	c.Machine, machineErr = balloon.ReadMachine()
	return c, machineErr
}

func parseLimit(s string) (mem.Limit, error) {
	b, err := mem.ParseBytes(s)
	return mem.LimitOf(b), err
}

// inflate waits for the start where it has to, then runs the plan.
func (o options) inflate(b *balloon.Balloon, curve plan.Curve) error {
	wait := o.start == "signal"
	if o.state != "" {
		restarts, err := balloon.CountRestarts(o.state)
		if err != nil {
			return err
		}
		if restarts > 0 {
			b.Events.Restarted(restarts)
			switch o.afterRestart {
			case "small":
				b.Events.Emit("ready", 0)
				return b.StaySmall()
			case "wait":
				wait = true
			}
		}
	}
	b.Events.Emit("ready", 0)
	if wait {
		var err error
		if curve, err = b.WaitForStart(curve); err != nil {
			return err
		}
	}
	b.Events.Emit("started", 0)
	return b.Run(curve)
}

func complain(err error) { os.Stderr.WriteString("oomlab-stressor: " + err.Error() + "\n") }
