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
	exitDone  = 0 // the plan ended
	exitError = 1 // memory of this kind cannot be had here
	exitUsage = 2 // bad flags or a bad plan
	// SIGTERM is no success: a pod whose containers answer an eviction with 0
	// ends as Succeeded (kubernetes/kubernetes#120182).
	exitTerminated = 128 + int(unix.SIGTERM)
)

// options are the flags.
type options struct {
	plan, start, afterRestart, state string
	limit, request                   string
	dir, tmpfs                       string
	below                            string
	share                            int
	explain, scores                  bool
	beside                           []string
	keepFiles                        bool
	ignoreSIGTERM, ignoreChildren    bool
}

func main() {
	// One processor for the balloon and one for its commands. Following a plan
	// allocates nothing, so the garbage collector would only cost memory.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(-1)
	os.Exit(run())
}

func run() int {
	if err := balloon.AvoidHugeHeap(); err != nil {
		return fail(err, exitError)
	}
	o, err := parseFlags()
	if err != nil {
		return fail(err, exitUsage)
	}
	if o.scores {
		if err := printScores(); err != nil {
			return fail(err, exitError)
		}
		return exitDone
	}
	if o.below != "" {
		return probe(o.below)
	}
	p, err := plan.Parse(o.plan)
	if err != nil {
		return fail(err, exitUsage)
	}
	container, err := o.container()
	if err != nil {
		return fail(err, exitUsage)
	}
	curve, err := p.Curve(container)
	if err != nil {
		return fail(err, exitUsage)
	}
	if o.explain {
		if _, err := os.Stdout.WriteString(curve.Explain()); err != nil {
			return fail(err, exitError)
		}
		return exitDone
	}
	events, err := balloon.NewEvents(unix.Stdout)
	if err != nil {
		return fail(err, exitError)
	}
	code, err := balloon.FindCode()
	if err != nil {
		return fail(err, exitError)
	}
	code.Drop()
	switch err := o.inflate(p, curve, &balloon.Balloon{
		Events: events, Code: code, Container: container,
		Share: max(1, o.share), Threads: p.Threads, Dir: o.dir, TmpfsDir: o.tmpfs, KeepFiles: o.keepFiles,
	}); {
	case errors.Is(err, balloon.ErrTerminated):
		events.Emit("terminated", 0)
		return exitTerminated
	case err != nil:
		events.Error(err)
		return fail(err, exitError)
	default:
		events.Emit("done", 0)
	}
	return exitDone
}

func parseFlags() (options, error) {
	var o options
	flag.StringVar(&o.plan, "plan", "", "what to hold and when, such as 'fill 150Mi, hold'")
	flag.BoolVar(&o.explain, "explain", false, "print the curve of the plan and exit")
	flag.BoolVar(&o.scores, "scores", false, "print oom_score_adj and oom_score of process 1 and exit")
	flag.StringVar(&o.start, "start", "now", "when to begin: `now`, or on signal (SIGUSR1)")
	flag.StringVar(&o.afterRestart, "after-restart", "small", "what a restarted container does: `small` holds nothing, wait waits for SIGUSR1, again begins again, end exits 0")
	flag.StringVar(&o.state, "state", "", "`directory` that survives restarts of the container; without it no restart is noticed")
	flag.StringVar(&o.limit, "limit", "", "the container's memory `limit`, if not its cgroup's")
	flag.StringVar(&o.request, "request", os.Getenv("MEMORY_REQUEST"), "the container's memory `request`; default $MEMORY_REQUEST")
	flag.StringVar(&o.dir, "dir", "/tmp", "`directory` on a disk, for the kinds file, dirty and mapped")
	flag.StringVar(&o.tmpfs, "tmpfs", "/dev/shm", "`directory` on a tmpfs, for the kind tmpfs")
	flag.Func("beside", "start a further process that holds this `plan` before this one begins; may be given several times", func(text string) error {
		o.beside = append(o.beside, text)
		_, err := plan.Parse(text)
		return err
	})
	flag.BoolVar(&o.keepFiles, "keep-files", false, "leave the files of the kinds tmpfs, file, dirty and mapped there, with what is in them")
	flag.BoolVar(&o.ignoreSIGTERM, "ignore-sigterm", false, "be as deaf as a process 1 without a handler")
	flag.BoolVar(&o.ignoreChildren, "ignore-children", false, "exit 0 although a child was killed")
	flag.StringVar(&o.below, "below", "", "hold nothing: exit 0 if the cgroup uses less than `size`, else 1, as a probe")
	flag.IntVar(&o.share, "share", 0, "hold only an `N`-th of every size: given to the children of a plan that asks for children")
	flag.Parse()
	var errs []error
	if flag.NArg() > 0 || o.plan == "" && !o.scores && o.below == "" {
		errs = append(errs, errors.New("want -plan 'PLAN' and no other arguments; -help lists the flags"))
	}
	if o.start != "now" && o.start != "signal" {
		errs = append(errs, errors.New("-start is now or signal"))
	}
	switch o.afterRestart {
	case "small", "wait", "again", "end":
	default:
		errs = append(errs, errors.New("-after-restart is small, wait, again or end"))
	}
	if o.share < 0 {
		errs = append(errs, errors.New("-share cannot be negative"))
	}
	return o, errors.Join(errs...)
}

// container finds out what the sizes of the plan are relative to. A limit that
// cannot be read is unknown, which is an error only to plans that refer to it.
func (o options) container() (plan.Container, error) {
	var c plan.Container
	var err error
	if o.limit == "" {
		if limit, err := balloon.ReadLimit(); err == nil {
			c.Limit = limit
		}
	} else if c.Limit, err = parseLimit("limit", o.limit); err != nil {
		return c, err
	}
	if o.request != "" {
		if c.Request, err = parseLimit("request", o.request); err != nil {
			return c, err
		}
	}
	c.Machine, err = balloon.ReadMachine()
	return c, err
}

func parseLimit(name, s string) (mem.Limit, error) {
	b, err := mem.ParseBytes(s)
	if err != nil {
		return mem.Limit{}, errors.New("-" + name + ": " + err.Error())
	}
	return mem.LimitOf(b), nil
}

// inflate waits for the start where it has to, then follows the plan.
func (o options) inflate(p plan.Plan, curve plan.Curve, b *balloon.Balloon) error {
	commands := make(chan balloon.Command, 16)
	b.Commands = commands
	balloon.Signals(commands, o.ignoreSIGTERM)
	go balloon.ReadLines(os.Stdin, commands, b.Events)

	now, again, err := o.restarted(b.Events)
	if err != nil || again && o.afterRestart == "end" {
		return err
	}
	small := again && o.afterRestart == "small"
	if len(o.beside) > 0 && !small && o.share == 0 {
		runtime.LockOSThread() // they end with the thread that started them
		if err := balloon.Beside(o.beside, b.Events); err != nil {
			return err
		}
	}
	b.Events.Emit("ready", 0)
	switch {
	case small:
		return balloon.StaySmall(commands)
	case p.Children > 0 && o.share == 0:
		runtime.LockOSThread() // children die with the thread that started them
		family := &balloon.Family{Events: b.Events, Commands: commands, Children: p.Children, IgnoreDeaths: o.ignoreChildren}
		return family.Run(now)
	}
	curve = curve.Share(b.Share)
	if !now {
		if curve, err = b.WaitForStart(curve); err != nil {
			return err
		}
	}
	return b.Run(curve)
}

// restarted notices a restart of the container, and says whether to begin now.
func (o options) restarted(events *balloon.Events) (now, again bool, err error) {
	now = o.start == "now"
	if o.state == "" {
		return now, false, nil
	}
	restarts, err := balloon.CountRestarts(o.state)
	if err != nil || restarts == 0 {
		return now, false, err
	}
	events.Restarted(restarts)
	return now && o.afterRestart == "again", true, nil
}

// fail tells people why, and returns the exit code.
func fail(err error, code int) int {
	_, _ = os.Stderr.WriteString("oomlab-stressor: " + err.Error() + "\n")
	return code
}
