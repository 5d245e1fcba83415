package evidence

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/oomlab/oomlab/internal/reconcile"
)

// Census knows which process is in which cgroup, and how many kills each cgroup
// counted. A process that was killed can't be looked up any more, so the census
// is taken over and over, from before the pressure.
type Census struct {
	hierarchy Hierarchy
	root      string

	mu      sync.Mutex
	members map[int]Member
	kills   map[string]counter
	err     error
}

// Member is a process that the census has met.
type Member struct {
	PID     int
	Cgroup  string
	Parent  int    // the parent's pid
	Started uint64 // clock ticks since boot
	// Main says that it is the first of its pid namespace, or where it shares
	// ours, of its cgroup, which its parent is not in: with it the container
	// ends.
	Main  bool
	Alive bool // it was there in the latest round
}

// counter is a cgroup's own count of kills: when first seen, and latest.
type counter struct{ first, last int }

const (
	// censusInterval is far below the time that a container's cgroup outlives its
	// process (containerd needs some 50 ms).
	censusInterval = 20 * time.Millisecond
	// censusRest is how many times as long as a round takes nothing is done
	// before the next one: a census takes a tenth of a processor at most. Where
	// reading takes long, as it does where every instruction is translated, so
	// does removing a cgroup.
	censusRest = 9
)

// pause returns how long the census rests after a round that took so long.
func pause(round time.Duration) time.Duration {
	return max(censusInterval-round, censusRest*round)
}

// TakeCensus counts root and everything below it until ctx ends. The first
// round is complete when it returns.
func (h Hierarchy) TakeCensus(ctx context.Context, root string) (*Census, error) {
	c := &Census{hierarchy: h, root: root, members: map[int]Member{}, kills: map[string]counter{}}
	if err := c.round(true); err != nil {
		return nil, err
	}
	go c.repeat(ctx)
	return c, nil
}

func (c *Census) repeat(ctx context.Context) {
	rest := time.NewTimer(censusInterval)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
		began := time.Now()
		if err := c.round(false); err != nil && !gone(err) {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
		rest.Reset(pause(time.Since(began)))
	}
}

// round looks once at every cgroup. A cgroup that appears after the first round
// started at zero.
func (c *Census) round(first bool) error {
	paths, err := c.hierarchy.Walk(c.root)
	if err != nil {
		return err
	}
	present := map[int]string{}
	counts := map[string]int{}
	for _, path := range paths {
		kills, err := c.hierarchy.OOMKills(path)
		if gone(err) {
			continue
		} else if err != nil {
			return err
		}
		counts[path] = kills
		pids, err := c.hierarchy.Procs(path)
		if gone(err) {
			continue
		} else if err != nil {
			return err
		}
		for _, pid := range pids {
			present[pid] = path
		}
	}
	c.depart(present)
	met := c.strangers(present)
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, n := range counts {
		seen, known := c.kills[path]
		if !known && first {
			seen.first = n
		}
		seen.last = n
		c.kills[path] = seen
	}
	maps.Copy(c.members, met)
	return nil
}

// depart notes who is not where he was any more: whoever comes after him may be
// the first one again.
func (c *Census) depart(present map[int]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pid, m := range c.members {
		if m.Alive = present[pid] == m.Cgroup; !m.Alive {
			c.members[pid] = m
		}
	}
}

// strangers returns who of those present is not known to be where he is.
func (c *Census) strangers(present map[int]string) map[int]Member {
	c.mu.Lock()
	unknown := map[int]string{}
	for pid, path := range present {
		if m, ok := c.members[pid]; !ok || m.Cgroup != path || !m.Alive {
			unknown[pid] = path
		}
	}
	c.mu.Unlock()
	// Reading takes its time, and others may be waiting for what is known.
	met := map[int]Member{}
	for pid, path := range unknown {
		met[pid] = c.meet(pid, path)
	}
	return met
}

// meet reads what must be known of a process before it dies. One that has ended
// since it was listed is no longer alive: without its start it would pass for
// the oldest of all.
func (c *Census) meet(pid int, cgroup string) Member {
	m := Member{PID: pid, Cgroup: cgroup}
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return m
	}
	stat, err := proc.Stat()
	if err != nil {
		return m
	}
	status, err := proc.NewStatus()
	if err != nil {
		return m
	}
	m.Parent, m.Started, m.Alive = stat.PPID, stat.Starttime, true
	if ids := status.NSpids; len(ids) > 1 {
		m.Main = ids[len(ids)-1] == 1
	} else {
		parent, err := c.hierarchy.Of(m.Parent)
		m.Main = (err != nil || parent != cgroup) && !c.inhabited(cgroup)
	}
	return m
}

// inhabited reports whether somebody alive is known in a cgroup.
func (c *Census) inhabited(cgroup string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.Alive && m.Cgroup == cgroup {
			return true
		}
	}
	return false
}

// clockTick is the unit of starttime in /proc/PID/stat (USER_HZ).
const clockTick = time.Second / 100

// Processes returns what the census knows, dead or alive, by pid.
func (c *Census) Processes() map[int]reconcile.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[int]reconcile.Process, len(c.members))
	for pid, m := range c.members {
		known[pid] = reconcile.Process{Cgroup: m.Cgroup, Main: m.Main, Started: time.Duration(m.Started) * clockTick}
	}
	return known
}

// Find returns the process with that pid, alive or not, or the one that has a
// thread with it. One that lived too briefly to be counted is looked up while it
// is dying.
func (c *Census) Find(pid int) (Member, bool) {
	c.mu.Lock()
	known, ok := c.members[pid]
	c.mu.Unlock()
	if ok {
		return known, true
	}
	if process, err := processOf(pid); err == nil && process != pid {
		return c.Find(process)
	}
	cgroup, err := c.hierarchy.Of(pid)
	if err != nil || !reconcile.Within(cgroup, c.root) {
		return Member{}, false
	}
	m := c.meet(pid, cgroup)
	c.mu.Lock()
	c.members[pid] = m
	c.mu.Unlock()
	return m, true
}

// processOf returns the process of a thread.
func processOf(thread int) (pid int, err error) {
	proc, err := procfs.NewProc(thread)
	if err != nil {
		return 0, fmt.Errorf("find the process of thread %d: %w", thread, err)
	}
	status, err := proc.NewStatus()
	switch {
	case err != nil:
		return 0, fmt.Errorf("find the process of thread %d: %w", thread, err)
	case status.TGID == 0:
		return 0, fmt.Errorf("find the process of thread %d: it has ended", thread)
	}
	return status.TGID, nil
}

// Alive returns the processes of the latest round, oldest first.
func (c *Census) Alive() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	var alive []Member
	for _, m := range c.members {
		if m.Alive {
			alive = append(alive, m)
		}
	}
	slices.SortFunc(alive, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Started, b.Started), cmp.Compare(a.PID, b.PID))
	})
	return alive
}

// Kills returns the kills that each cgroup has counted since the census began,
// for those that counted any. A cgroup that is removed within censusInterval of
// a kill takes its count with it.
func (c *Census) Kills() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	kills := map[string]int{}
	for path, n := range c.kills {
		if n.last > n.first {
			kills[path] = n.last - n.first
		}
	}
	return kills
}

// Err returns why the census ended early, if it did.
func (c *Census) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
