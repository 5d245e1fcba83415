package selfcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
)

// arena is where one worker plays its experiments, one after the other.
type arena struct {
	hierarchy evidence.Hierarchy
	kernel    oom.Kernel
	stressor  string
	watch     *watch
	trace     *trace // nil where there is none
	root      string // the cgroup of the experiments
	home      string // the cgroup of oomlab itself
}

// Played is what an experiment showed.
type Played struct {
	Experiment Experiment `json:"experiment"`
	// Snapshot is the arena right before the grower grows.
	Snapshot oom.Snapshot `json:"snapshot"`
	// Grower is its pid.
	Grower int `json:"growerPID"`
	// Forecast is the model's answer to the snapshot.
	Forecast oom.Step `json:"forecast"`
	// DomainInDoubt says that another limit may be the first to be reached.
	DomainInDoubt bool `json:"domainInDoubt"`
	// Kills are in the kernel's order.
	Kills []Kill `json:"kills"`
	// Marked are the pids that oom:mark_victim named, if Traced.
	Traced bool  `json:"traced"`
	Marked []int `json:"markedPIDs,omitempty"`
	// Counted is how many kills the arena's cgroups counted.
	Counted int `json:"killsCounted"`
}

// What bounds an experiment in time.
const (
	holdTimeout   = 20 * time.Second
	growTimeout   = 5 * time.Second
	removeTimeout = 5 * time.Second
)

// beyond is how much the grower takes beyond the limit: more than what the
// kernel's stocks of charges may hide (MEMCG_CHARGE_BATCH, 64 pages on each CPU
// that an arena runs on), less than what the smallest victim gives back.
func beyond(k oom.Kernel) mem.Bytes {
	return 512*mem.KiB + (64 * arenaCPUs).Bytes(k.PageSize)
}

// arenaCPUs is how many CPUs the processes of one arena run on at most.
const arenaCPUs = mem.Pages(2)

// play carries out an experiment. Whatever happens, nothing is left of it.
func (a *arena) play(ctx context.Context, e Experiment) (played Played, err error) {
	defer func() { err = errors.Join(err, a.clear()) }()
	if err := a.build(e); err != nil {
		return played, err
	}
	processes, err := a.start(e)
	defer func() {
		for _, p := range processes {
			err = errors.Join(err, p.stop())
			a.forget(p.pid())
		}
	}()
	if err != nil {
		return played, err
	}
	for i, p := range processes {
		if err := wait(ctx, p, holdTimeout); p.isEnded() {
			return played, fmt.Errorf("%w: process %d: %w", errUnfit, i, err)
		} else if err != nil {
			return played, fmt.Errorf("process %d: %w", i, err)
		}
	}
	grower := processes[e.Grower]
	played = Played{Experiment: e, Grower: grower.pid(), Traced: a.trace != nil}
	if played.Snapshot, err = a.settledSnapshot(); err != nil {
		return played, err
	}
	if err := played.predict(); err != nil {
		return played, err
	}
	level := e.Processes[e.Grower].Size + played.Forecast.Growth.Bytes(a.kernel.PageSize) + beyond(a.kernel)
	if err := grower.grow(level); err != nil {
		return played, err
	}
	if err := wait(ctx, grower, growTimeout); err != nil && !grower.isEnded() {
		return played, fmt.Errorf("the grower: %w", err)
	}
	err = a.collect(ctx, e, processes, &played)
	return played, err
}

// settledSnapshot waits until nobody's memory changes between two looks: when a
// stressor falls asleep it gives back the pages of its own code.
func (a *arena) settledSnapshot() (oom.Snapshot, error) {
	var before oom.Snapshot
	for range 20 {
		s, err := a.hierarchy.Snapshot(a.kernel, a.root)
		if err != nil {
			return s, err
		}
		same := func(x, y oom.Task) bool { return x.PID == y.PID && x.RSS() == y.RSS() }
		if slices.EqualFunc(s.Tasks, before.Tasks, same) {
			return s, nil
		}
		before = s
		time.Sleep(2 * time.Millisecond)
	}
	return before, nil // it never rests: good enough, the kernel is the judge
}

// errUnfit says that an experiment ended before it began: memory ran out while
// the arena was filled.
var errUnfit = errors.New("the experiment does not fit in its arena")

// awake is what a stressor that moves maps of its own code, as OOM reports show
// it. While it sleeps it maps less, and these pages are charged to nobody here.
const awake = 2 * mem.MiB

// predict asks the model, which also tells how far the grower has to grow.
func (p *Played) predict() error {
	s := p.Snapshot
	s.Tasks = slices.Clone(s.Tasks)
	for i := range s.Tasks {
		if t := &s.Tasks[i]; t.PID == p.Grower {
			t.File = max(t.File, awake.Pages(s.Kernel.PageSize))
		}
	}
	f, err := oom.PredictSequence(s, oom.Pressure{Grower: p.Grower, Kills: 1})
	if err != nil {
		return err
	}
	p.Forecast = f.Steps[0]
	p.DomainInDoubt = p.limitsAreClose()
	return nil
}

// limitsAreClose reports whether two limits of the grower are reached within
// what the kernel has charged in advance: up to 64 pages on each CPU for each
// cgroup with processes (MEMCG_CHARGE_BATCH), which count as used until the
// limit is reached, and of which each limit sees those below it.
func (p *Played) limitsAreClose() bool {
	var cgroup string
	holders := map[string]bool{}
	for _, t := range p.Snapshot.Tasks {
		holders[t.Cgroup] = true
		if t.PID == p.Grower {
			cgroup = t.Cgroup
		}
	}
	page := p.Snapshot.Kernel.PageSize
	stock := (64 * arenaCPUs * mem.Pages(len(holders))).Bytes(page)
	near := 0
	for _, c := range p.Snapshot.Cgroups {
		limit, bounded := c.Limit.Bytes()
		above := cgroup == c.Path || strings.HasPrefix(cgroup, c.Path+"/")
		if bounded && above && limit-c.Usage <= p.Forecast.Growth.Bytes(page)+stock {
			near++
		}
	}
	return near > 1
}

// wait waits until the balloon holds.
func wait(ctx context.Context, p *process, timeout time.Duration) error {
	select {
	case err := <-p.held:
		return err
	case <-time.After(timeout):
		return fmt.Errorf("does not hold after %s", timeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// collect waits for the end of every killed process and for its line in the
// kernel's log.
func (a *arena) collect(ctx context.Context, e Experiment, processes []*process, played *Played) error {
	for _, c := range e.Cgroups {
		n, err := a.hierarchy.OOMKills(a.path(c.Path))
		if err != nil {
			return err
		}
		played.Counted += n
	}
	want := played.Counted
	if slices.ContainsFunc(e.Cgroups, func(c Cgroup) bool { return c.Group }) {
		want = min(want, max(1, want-1)) // memory.oom.group counts its first victim twice
	}
	deadline := time.Now().Add(growTimeout)
	for {
		killed := slices.DeleteFunc(slices.Clone(processes), func(p *process) bool { return !p.isKilled() })
		if len(killed) < want && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond) // it is still dying
			continue
		}
		for _, p := range processes {
			if a.trace != nil && a.trace.isMarked(p.pid()) {
				played.Marked = append(played.Marked, p.pid())
			}
		}
		for _, p := range killed {
			kill, err := a.watch.of(ctx, p.pid())
			if err != nil {
				return err
			}
			played.Kills = append(played.Kills, kill)
		}
		slices.SortFunc(played.Kills, func(x, y Kill) int { return x.Order - y.Order })
		return nil
	}
}

// start starts the experiment's processes, each in its cgroup from its first
// page on. Those started before an error are returned with it.
func (a *arena) start(e Experiment) (processes []*process, err error) {
	v1 := a.hierarchy.Version == 1
	if v1 {
		defer func() { err = errors.Join(err, enter(a.hierarchy, a.home)) }()
	}
	for i, spec := range e.Processes {
		var dir *os.File
		if v1 {
			err = enter(a.hierarchy, a.path(spec.Cgroup))
		} else {
			dir, err = os.Open(a.hierarchy.Dir(a.path(spec.Cgroup)))
		}
		if err != nil {
			return processes, err
		}
		p, err := spawn(a.stressor, spec, dir)
		if dir != nil {
			err = errors.Join(err, dir.Close())
		}
		if p != nil {
			a.forget(p.pid())
			a.watch.expect(p.pid())
			processes = append(processes, p)
		}
		if err != nil {
			return processes, fmt.Errorf("process %d: %w", i, err)
		}
	}
	return processes, nil
}

// forget drops what is known of an older process of that number.
func (a *arena) forget(pid int) {
	a.watch.forget(pid)
	if a.trace != nil {
		a.trace.forget(pid)
	}
}

func (a *arena) path(relative string) string { return path.Join(a.root, relative) }

// build makes the experiment's cgroups.
func (a *arena) build(e Experiment) error {
	for _, c := range e.Cgroups {
		cgroup := a.path(c.Path)
		if err := os.Mkdir(a.hierarchy.Dir(cgroup), 0o755); err != nil {
			return fmt.Errorf("make cgroup %s: %w (run as root)", cgroup, err)
		}
		if err := a.configure(cgroup, c, e.hasChildren(c.Path)); err != nil {
			return err
		}
	}
	return nil
}

func (a *arena) configure(cgroup string, c Cgroup, hasChildren bool) error {
	bytes, bounded := c.Limit.Bytes()
	limit := fmt.Sprint(int64(bytes))
	if a.hierarchy.Version == 1 {
		if !bounded {
			return nil
		}
		err := write(a.hierarchy, cgroup, "memory.limit_in_bytes", limit)
		return errors.Join(err, ifPresent(write(a.hierarchy, cgroup, "memory.memsw.limit_in_bytes", limit)))
	}
	var errs []error
	if hasChildren {
		errs = append(errs, write(a.hierarchy, cgroup, "cgroup.subtree_control", "+memory"))
	}
	if bounded {
		errs = append(errs, write(a.hierarchy, cgroup, "memory.max", limit),
			ifPresent(write(a.hierarchy, cgroup, "memory.swap.max", "0")))
	}
	if c.Group {
		errs = append(errs, write(a.hierarchy, cgroup, "memory.oom.group", "1"))
	}
	return errors.Join(errs...)
}

// ifPresent forgives that a kernel without swap accounting has no such file.
func ifPresent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// clear removes the experiment's cgroups. The kernel may need a moment to let
// go of a dead process.
func (a *arena) clear() error {
	paths, err := a.hierarchy.Walk(a.root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	slices.Reverse(paths)
	deadline := time.Now().Add(removeTimeout)
	for _, p := range paths {
		err := os.Remove(a.hierarchy.Dir(p))
		for err != nil && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
			err = os.Remove(a.hierarchy.Dir(p))
		}
		if err != nil {
			return fmt.Errorf("remove cgroup %s: %w", p, err)
		}
	}
	return nil
}

// pinned calls f on a thread of its own, whose children die with it and run on
// arenaCPUs CPUs: the nth worker's, of those that oomlab itself may run on.
func pinned(n int, f func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, few unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("read the CPUs that may be used: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < all.Count(); cpu++ {
		if all.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	for i := range int(arenaCPUs) {
		few.Set(cpus[(n*int(arenaCPUs)+i)%len(cpus)])
	}
	if err := unix.SchedSetaffinity(0, &few); err != nil {
		return fmt.Errorf("keep to CPUs: %w", err)
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &all)) }()
	return f()
}
