package forecast

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// What is there beside the balloons.
const (
	// A stressor's own memory while it holds (docs/stressor.md). Its file pages
	// are shared with every other stressor and charged to whoever came first.
	ownAnon    = 1 * mem.MiB
	ownFile    = 1 * mem.MiB
	ownThreads = 8 // at most: the Go runtime's, and the helper of a fill
	// pauseHeld is charged to each pod for its pause container, whose
	// oom_score_adj of -998 and size keep it out of every choice.
	pauseHeld = 256 * mem.KiB
	// DaemonsHeld is what kubelet, containerd and shims of a kind worker use.
	// They are charged to the node, and no candidates: at -999 they can't win.
	DaemonsHeld = 300 * mem.MiB
	// A virtual machine of 512 MiB shows 459 to 475 of them as MemTotal (Linux
	// 7.3 and 5.10; the rest is the kernel's own), and 33 to 43 of these are
	// taken before its first pod starts.
	MachineReserved, MachineHeld = 45 * mem.MiB, 40 * mem.MiB
)

// node is a scenario's node as it is planned.
type node struct {
	scenario *scenarios.Scenario
	options  Options
	config   qos.Node
	snapshot oom.Snapshot
	cgroups  map[string]int // index in the snapshot, by path
	owners   map[int]record.Owner
	pods     []pod
	growers  []grower
}

// pod is a planned pod.
type pod struct {
	qos.Pod
	workload, cgroup string
}

// grower is a container that presses.
type grower struct {
	pid     int
	sharers []int // the other children of a plan that asks for several
	cgroup  string
	balloon plan.Curve
	press   plan.Curve
}

func newNode(s *scenarios.Scenario, o Options) (*node, error) {
	n := &node{
		scenario: s, options: o, cgroups: map[string]int{}, owners: map[int]record.Owner{},
		config: qos.Node{
			Version: o.Kubelet, Capacity: s.Node.Memory.Bytes, SwapCapacity: s.Node.Swap.Bytes, Limit: mem.LimitOf(s.Node.Memory.Bytes),
			PageSize: o.Kernel.PageSize, SystemReserved: s.Node.Reservation(), CgroupVersion: o.Kernel.CgroupVersion,
			Layout: qos.Layout{Driver: qos.Cgroupfs, Prefix: "/node"},
		},
		snapshot: oom.Snapshot{Kernel: o.Kernel},
	}
	s.Node.Kubelet.Configure(&n.config)
	held := DaemonsHeld
	if o.NoKubelet {
		held = 0
	}
	if s.Node.Domain == qos.LevelGlobal {
		// The node is a machine of its own, and no cgroup bounds it.
		n.config.Capacity, n.config.Limit = s.Node.Memory.Bytes-MachineReserved, mem.Limit{}
		n.snapshot.Kernel.RAM = n.config.Capacity.Pages(o.Kernel.PageSize)
		held = MachineHeld
	}
	if err := n.config.Validate(); err != nil {
		return nil, err
	}
	n.addCgroup("/node", n.config.Limit, false)
	n.addCgroup(n.config.Kubepods(), n.config.KubepodsLimits(nil).Max, false)
	for _, class := range []qos.Class{qos.Burstable, qos.BestEffort} {
		n.addCgroup(n.config.Class(class), mem.Limit{}, false)
	}
	n.charge("/node", held, 0)
	var errs []error
	for _, w := range s.Workloads {
		if w.After != "" {
			continue // it is made when the pressure is already there
		}
		for _, name := range w.PodNames() {
			errs = append(errs, n.addPod(w, name))
		}
	}
	if s.Node.Domain == qos.LevelGlobal {
		left := (n.config.Capacity - n.snapshot.Cgroups[n.cgroups["/node"]].Usage).Pages(o.Kernel.PageSize)
		n.snapshot.Available = &left
	}
	return n, errors.Join(errs...)
}

func (n *node) addPod(w scenarios.Workload, name string) error {
	spec := w.Pod(name)
	class := qos.ClassOf(spec, n.config.Version)
	dir := n.config.Pod(class, name)
	n.addCgroup(dir, n.config.PodLimits(spec).Max, false)
	n.charge(dir, pauseHeld, 0)
	n.pods = append(n.pods, pod{Pod: spec, workload: w.Name, cgroup: dir})
	for _, c := range w.Settled() {
		if slices.Contains(n.scenario.Expect.NeverStarts, w.Name) {
			break
		}
		i := slices.IndexFunc(spec.Containers, func(s qos.Container) bool { return s.Name == c.Name })
		limits := n.config.ContainerLimits(spec, spec.Containers[i])
		cgroup := n.config.Container(class, name, c.Name)
		n.addCgroup(cgroup, limits.Max, limits.OOMGroup && n.config.CgroupVersion == 2)
		p := processes{
			adj: max(w.ScoreOf(n.config, spec, spec.Containers[i]), n.options.LowestAdj), cgroup: cgroup,
			owner: record.Owner{Workload: w.Name, Pod: name, Container: c.Name, Level: qos.LevelContainer},
		}
		err := n.addProcesses(p, c)
		if c.Exec != "" {
			err = errors.Join(err, n.addProcesses(p, c.Executed()))
		}
		if err != nil {
			return fmt.Errorf("container %s: %w", p.owner, err)
		}
	}
	return nil
}

// processes is what the processes of a container have in common.
type processes struct {
	owner  record.Owner
	cgroup string
	adj    int
}

// addProcesses adds a stressor that follows the container's plans: one process,
// or one and its children, and those beside it.
func (n *node) addProcesses(p processes, c scenarios.Container) error {
	balloon, press, err := c.Plans()
	if err != nil {
		return err
	}
	children, threads := max(balloon.Children, press.Children), max(balloon.Threads, press.Threads)
	if children > 0 {
		n.addProcess(p, levels{}, 0) // their parent holds nothing
	}
	count := max(1, children)
	g := grower{pid: firstPID + len(n.snapshot.Tasks), cgroup: p.cgroup}
	if g.balloon, g.press, err = c.Curves(); err != nil {
		return err
	}
	held := levelsAt(g.balloon, min(g.balloon.Duration(), settled))
	if c.Press != "" {
		for i := 1; i < count; i++ {
			g.sharers = append(g.sharers, g.pid+i)
		}
		n.growers = append(n.growers, g)
	}
	for range count {
		n.addProcess(p, held.dividedBy(count), threads)
	}
	for _, text := range c.Beside {
		parsed, err := plan.Parse(text)
		if err != nil {
			return err
		}
		curve, err := parsed.Curve(c.Sizes())
		if err != nil {
			return err
		}
		n.addProcess(p, levelsAt(curve, min(curve.Duration(), settled)), parsed.Threads)
	}
	return nil
}

// addProcess adds one process that holds that much beside itself.
func (n *node) addProcess(p processes, held levels, threads int) {
	page := n.options.Kernel.PageSize
	task := oom.Task{
		PID: firstPID + len(n.snapshot.Tasks), Name: p.owner.String(), Cgroup: p.cgroup, OOMScoreAdj: p.adj,
		Threads: ownThreads + threads, Order: len(n.snapshot.Tasks),
		Anon:  (ownAnon + held.anon).Pages(page),
		File:  (ownFile + held.mapped).Pages(page),
		Shmem: held.shmem.Pages(page),
	}
	task.PageTables = pageTables(held.anon+held.mapped+held.shmem, page)
	n.snapshot.Tasks = append(n.snapshot.Tasks, task)
	n.owners[task.PID] = p.owner
	n.charge(p.cgroup, ownAnon+task.PageTables+held.charged(), held.mapped+held.cache)
}

const (
	// firstPID is the made-up pid of the first process.
	firstPID = 1000
	// settled is when a balloon without an end counts as blown up.
	settled = time.Hour
	// ownTables are the page tables of a stressor that holds nothing.
	ownTables = 88 * mem.KiB
)

// pageTables are those of a process that maps b in base pages: 8 bytes a page.
func pageTables(b, page mem.Bytes) mem.Bytes { return ownTables + b/page*8 }

// levels is what a balloon holds, by how the kernel counts it.
type levels struct {
	anon, mapped, shmem mem.Bytes // rss
	cache, tmpfs        mem.Bytes // charged, and no process's rss
}

func (l levels) charged() mem.Bytes { return l.anon + l.mapped + l.shmem + l.cache + l.tmpfs }

// minus returns what l has grown by since it was before.
func (l levels) minus(before levels) levels {
	return levels{
		l.anon - before.anon, l.mapped - before.mapped, l.shmem - before.shmem, l.cache - before.cache, l.tmpfs - before.tmpfs,
	}
}

func (l levels) dividedBy(n int) levels {
	d := mem.Bytes(n)
	return levels{l.anon / d, l.mapped / d, l.shmem / d, l.cache / d, l.tmpfs / d}
}

// levelsAt returns what the balloon holds at plan time t.
func levelsAt(c plan.Curve, t time.Duration) levels {
	by := c.Levels(t)
	return levels{
		anon:   by[plan.Anon] + by[plan.THP] + by[plan.Mlock] + by[plan.Cold] + by[plan.LazyFree],
		mapped: by[plan.Mapped], shmem: by[plan.Shm],
		cache: by[plan.File] + by[plan.Dirty], tmpfs: by[plan.Tmpfs] + by[plan.Memfd],
	}
}

func (n *node) addCgroup(path string, limit mem.Limit, group bool) {
	n.cgroups[path] = len(n.snapshot.Cgroups)
	n.snapshot.Cgroups = append(n.snapshot.Cgroups, oom.Cgroup{
		Path: path, ID: uint64(len(n.snapshot.Cgroups) + 1), Limit: limit, OOMGroup: group,
	})
}

// charge adds memory, of which some is reclaimable, to a cgroup and all above.
func (n *node) charge(path string, used, reclaimable mem.Bytes) {
	for ; path != "/"; path = parent(path) {
		if i, ok := n.cgroups[path]; ok {
			n.snapshot.Cgroups[i].Usage += used
			n.snapshot.Cgroups[i].Reclaimable += reclaimable
		}
	}
}
