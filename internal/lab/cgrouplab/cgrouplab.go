// Package cgrouplab runs a scenario on this machine's kernel without
// Kubernetes: cgroups shaped as the kubelet shapes them, and in them stressors
// with the scores that the kubelet would give. It shows in seconds whom the
// kernel kills. Nothing restarts or evicts here. It needs root, or a delegated
// cgroup v2: then scores are not lowered, and the evidence is what the cgroups
// count.
package cgrouplab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/lab"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

// Prefix begins the name of every cgroup that this lab makes.
const Prefix = "oomlab-"

// Options are what a lab is made from.
type Options struct {
	// Name is the lab's, "cgroup" if empty: the vm lab runs this one in its
	// virtual machines.
	Name string
	// Kubelet is the version of the kubelet whose formulas give the scores. No
	// score below LowestAdj can be given on this machine.
	Kubelet   qos.Version
	LowestAdj int
	// Machine is the memory of a machine that was made for the run, which may
	// then run out of it as a whole: domain global. 0 forbids it.
	Machine mem.Bytes
}

// Lab makes nodes out of cgroups.
type Lab struct {
	Options
	hierarchy evidence.Hierarchy
	stressor  string
}

var _ run.Lab = (*Lab)(nil)

// New returns the lab.
func New(ctx context.Context, o Options) (*Lab, error) {
	o.Name = cmp.Or(o.Name, "cgroup")
	hierarchy, err := evidence.FindHierarchy()
	if err != nil {
		return nil, err
	}
	stressor, err := lab.Stressor(ctx)
	if err != nil {
		return nil, err
	}
	return &Lab{Options: o, hierarchy: hierarchy, stressor: stressor}, nil
}

// Name returns the lab's name.
func (l *Lab) Name() string { return l.Options.Name }

// Prepare makes the cgroups of a node and of its pods.
func (l *Lab) Prepare(_ context.Context, s *scenarios.Scenario) (run.Node, error) {
	if err := l.refuse(s); err != nil {
		return nil, err
	}
	parent := "/"
	var given *delegated
	if os.Geteuid() != 0 {
		var err error
		if given, err = takeDelegated(l.hierarchy); err != nil {
			return nil, err
		}
		parent = given.cgroup
	}
	n := &node{
		lab: l, scenario: s, given: given, owners: map[string]record.Owner{},
		config: qos.Node{
			Version: l.Kubelet, Capacity: s.Node.Memory.Bytes, SwapCapacity: s.Node.Swap.Bytes, SystemReserved: s.Node.Reservation(),
			CgroupVersion: l.hierarchy.Version,
			Layout:        qos.Layout{Driver: qos.Cgroupfs, Prefix: path.Join(parent, fmt.Sprintf("%s%d", Prefix, os.Getpid()))},
		},
	}
	s.Node.Kubelet.Configure(&n.config)
	if s.Node.Domain == qos.LevelGlobal {
		// The machine is the node, as for a kubelet outside of containers.
		n.config.Capacity, n.config.Prefix = l.Machine, ""
	}
	if err := n.makeCgroups(); err != nil {
		return nil, errors.Join(err, n.removeCgroups())
	}
	return n, nil
}

// refuse names what of a scenario needs more than a kernel.
func (l *Lab) refuse(s *scenarios.Scenario) error {
	if s.Node.Domain == qos.LevelGlobal && l.Machine == 0 {
		return errors.New("the cgroup lab never lets the whole machine run out of memory: use --lab vm")
	}
	needs := map[string]bool{
		"a meanwhile":                  len(s.Meanwhile) > 0,
		"a container that can't start": len(s.Expect.NeverStarts) > 0,
		"MemoryQoS":                    s.Node.Kubelet.MemoryThrottlingFactor != nil || s.Node.Kubelet.FeatureGates["MemoryQoS"],
		"swap":                         s.Node.Kubelet.MemorySwap != nil,
		"eviction":                     s.Until.Kills == 0 && s.Until.Evictions > 0,
	}
	for _, w := range s.Workloads {
		needs["a Job"] = needs["a Job"] || w.Job != nil
		needs["a pod that is made later"] = needs["a pod that is made later"] || w.After != ""
		needs["an emptyDir with a sizeLimit"] = needs["an emptyDir with a sizeLimit"] || w.EmptyDir != nil && w.EmptyDir.SizeLimit != nil
		for _, c := range w.EachContainer() {
			needs["an init container"] = needs["an init container"] || c.Kind() == qos.Init
			needs["a liveness probe"] = needs["a liveness probe"] || c.LivenessProbe != nil
			needs["a restart"] = needs["a restart"] || c.KeepFiles
		}
	}
	for _, what := range slices.Sorted(maps.Keys(needs)) {
		if needs[what] {
			return fmt.Errorf("the %s lab has no kubelet, and the scenario needs one for %s: use --lab kind", l.Name(), what)
		}
	}
	return nil
}

// node is one tree of cgroups.
type node struct {
	lab        *Lab
	scenario   *scenarios.Scenario
	given      *delegated // nil for root
	config     qos.Node
	owners     map[string]record.Owner // by cgroup
	cgroups    []string                // in the order in which they were made
	containers []*container
}

// root is the node's own cgroup: the root of the hierarchy where the node is
// the whole machine.
func (n *node) root() string { return path.Join("/", n.config.Prefix) }

func (n *node) makeCgroups() error {
	kubepods := n.config.Kubepods()
	if n.root() == "/" {
		n.owners["/"] = record.Owner{Level: qos.LevelGlobal}
	} else if err := n.makeCgroup(n.root(), mem.LimitOf(n.config.Capacity), record.Owner{Level: qos.LevelNode}); err != nil {
		return err
	}
	limits := n.config.KubepodsLimits(nil)
	if err := n.makeCgroup(kubepods, limits.Max, record.Owner{Level: qos.LevelKubepods}); err != nil {
		return err
	}
	for _, class := range []qos.Class{qos.Burstable, qos.BestEffort} {
		if err := n.makeCgroup(n.config.Class(class), mem.Limit{}, record.Owner{Level: qos.LevelClass}); err != nil {
			return err
		}
	}
	for _, w := range n.scenario.Workloads {
		for _, name := range w.PodNames() {
			if err := n.makePod(w, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// makePod makes the cgroups of a pod. Its UID is its name: nobody else gives
// it one.
func (n *node) makePod(w scenarios.Workload, name string) error {
	pod := w.Pod(name)
	class := qos.ClassOf(pod, n.config.Version)
	owner := record.Owner{Workload: w.Name, Pod: name, Level: qos.LevelPod}
	if err := n.makeCgroup(n.config.Pod(class, name), n.config.PodLimits(pod).Max, owner); err != nil {
		return err
	}
	for i, c := range w.EachContainer() {
		spec := pod.Containers[i]
		dir := n.config.Container(class, name, c.Name)
		owner.Container, owner.Level = c.Name, qos.LevelContainer
		limits := n.config.ContainerLimits(pod, spec)
		if err := n.makeCgroup(dir, limits.Max, owner); err != nil {
			return err
		}
		if limits.OOMGroup && n.lab.hierarchy.Version == 2 {
			if err := n.write(dir, "memory.oom.group", "1"); err != nil {
				return err
			}
		}
		add := func(c scenarios.Container, exec bool) error {
			settling, err := lab.SettlingOf(c)
			n.containers = append(n.containers, &container{
				owner: owner, cgroup: dir, args: lab.StressorArgs(c, lab.Dirs{}), settling: settling, presses: c.Press != "", exec: exec,
				class: class, adj: max(w.ScoreOf(n.config, pod, spec), n.lab.LowestAdj),
			})
			return err
		}
		err := add(c, false)
		if c.Exec != "" {
			err = errors.Join(err, add(c.Executed(), true))
		}
		if err != nil {
			return fmt.Errorf("container %s: %w", owner, err)
		}
	}
	return nil
}

func (n *node) makeCgroup(path string, limit mem.Limit, owner record.Owner) error {
	if err := os.Mkdir(n.lab.hierarchy.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make cgroup %s: %w: %s", path, err, howToDelegate)
	}
	n.cgroups = append(n.cgroups, path)
	n.owners[path] = owner
	if n.lab.hierarchy.Version == 2 && owner.Level != qos.LevelContainer {
		if err := n.write(path, "cgroup.subtree_control", "+memory"); err != nil {
			return err
		}
	}
	bytes, limited := limit.Bytes()
	if !limited {
		return nil
	}
	if n.lab.hierarchy.Version == 1 {
		return n.write(path, "memory.limit_in_bytes", fmt.Sprint(int64(bytes)))
	}
	if err := n.write(path, "memory.max", fmt.Sprint(int64(bytes))); err != nil {
		return err
	}
	// As for a kubelet without swap; a kernel without swap has no such file.
	if err := n.write(path, "memory.swap.max", "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (n *node) write(cgroup, file, value string) error {
	if err := os.WriteFile(path.Join(n.lab.hierarchy.Dir(cgroup), file), []byte(value), 0); err != nil {
		return fmt.Errorf("write %s to %s of cgroup %s: %w", value, file, cgroup, err)
	}
	return nil
}

// Facts describes the node.
func (n *node) Facts() record.Node {
	return record.Node{
		Name: cmp.Or(strings.Trim(n.root(), "/"), "machine"), Capacity: n.config.Capacity,
		Cgroup: n.root(), Kubepods: n.config.Kubepods(), NoKubelet: "the " + n.lab.Name() + " lab has no kubelet",
	}
}

// Kubelet is the kubelet whose formulas the scores follow.
func (n *node) Kubelet() qos.Node { return n.config }

// Owner says whose a cgroup is.
func (n *node) Owner(cgroup string) record.Owner {
	if owner, ok := n.owners[cgroup]; ok {
		return owner
	}
	return record.Owner{Level: record.Outside}
}

// Daemons returns nothing: there are none.
func (n *node) Daemons(context.Context) (record.Daemons, error) { return record.Daemons{}, nil }

// Recover ends the pressing processes.
func (n *node) Recover(context.Context) error {
	var errs []error
	for _, c := range n.containers {
		if c.presses {
			errs = append(errs, c.stop())
		}
	}
	return errors.Join(errs...)
}

// Close ends every process and removes every cgroup that the node consists of.
func (n *node) Close(context.Context) error {
	var errs []error
	for _, c := range n.containers {
		errs = append(errs, c.stop())
	}
	return errors.Join(append(errs, n.removeCgroups())...)
}

// removeWait bounds the wait for the kernel to let go of a dead process's
// cgroup.
const removeWait = 5 * time.Second

func (n *node) removeCgroups() error {
	var errs []error
	deadline := time.Now().Add(removeWait)
	for i := len(n.cgroups) - 1; i >= 0; i-- {
		dir := n.lab.hierarchy.Dir(n.cgroups[i])
		err := os.Remove(dir)
		for err != nil && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
			err = os.Remove(dir)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", n.cgroups[i], err))
		}
	}
	n.cgroups = nil
	if n.given != nil {
		errs = append(errs, n.given.giveBack())
		n.given = nil
	}
	return errors.Join(errs...)
}
