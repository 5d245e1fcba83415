// Package kubeletlab runs a scenario with the containerd and the kubelet of this
// machine, and without an API server: the pods are static ones, which the kubelet
// starts, restarts and tells of by itself. It takes the whole machine, which must
// have been made for the run, as the vm lab's are.
package kubeletlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/proc"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

// Options are what a lab is made from.
type Options struct {
	// Name is the lab's.
	Name string
	// Image is the stressor's image, Archive the file that it is in.
	Image, Archive string
	// Tell is told of each step of the node's preparation. Nil is silent.
	Tell func(step string)
}

// Lab makes this machine a node.
type Lab struct{ Options }

var (
	_ run.Lab         = (*Lab)(nil)
	_ run.KubeletNode = (*node)(nil)
)

// New returns the lab.
func New(o Options) *Lab {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	return &Lab{o}
}

// Name returns the lab's name.
func (l *Lab) Name() string { return l.Options.Name }

const (
	// nodeName is what the kubelet calls itself.
	nodeName = "node"
	// nodeCgroup is limited to the node's size, and everything of the node is in
	// it, as in a machine of that size. Its daemons have a cgroup below.
	nodeCgroup    = "/node"
	daemonsCgroup = nodeCgroup + "/system"
	// workDir has the daemons' configuration and their logs.
	workDir = "/run/oomlab"
)

// node is this machine while a scenario runs.
type node struct {
	lab        *Lab
	scenario   *scenarios.Scenario
	hierarchy  evidence.Hierarchy
	manifests  string // the directory of the static pods' files
	config     qos.Node
	facts      record.Node
	owners     *kubelet.Owners
	stopOwners context.CancelFunc
	containerd *proc.Daemon
	kubelet    *kubeletProcess
	fresh      *bool
}

// Prepare starts containerd and the kubelet, as the scenario configures it.
func (l *Lab) Prepare(ctx context.Context, s *scenarios.Scenario) (_ run.Node, err error) {
	if missing := lacking(s); missing != "" {
		return nil, &run.UnsupportedError{Missing: missing}
	}
	n := &node{lab: l, scenario: s, manifests: manifests, owners: kubelet.NewOwners(nodeCgroup)}
	if n.hierarchy, err = evidence.FindHierarchy(); err != nil {
		return nil, err
	}
	n.config = qos.Node{
		Capacity: s.Node.Memory.Bytes, SwapCapacity: s.Node.Swap.Bytes, SystemReserved: s.Node.Reservation(), CgroupVersion: n.hierarchy.Version,
		Layout: qos.Layout{Driver: qos.Cgroupfs, Prefix: nodeCgroup},
	}
	s.Node.Kubelet.Configure(&n.config)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close(ctx))
		}
	}()
	if err := n.makeCgroups(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(workDir, 0o755); err != nil {
		return nil, fmt.Errorf("make room for the daemons' files: %w", err)
	}
	if err := n.startContainerd(ctx); err != nil {
		return nil, err
	}
	l.Tell("containerd listens")
	imported := make(chan error, 1)
	go func() {
		err := n.importImage(ctx)
		l.Tell("containerd has the stressor's image")
		imported <- err
	}()
	if err = n.startKubelet(ctx); err == nil {
		l.Tell("the kubelet answers")
	}
	if err := errors.Join(err, <-imported); err != nil {
		return nil, err
	}
	if err := n.describe(ctx); err != nil {
		return nil, err
	}
	n.watchOwners(ctx)
	return n, nil
}

// lacking says what of a scenario needs more than a kubelet; "" if nothing does.
func lacking(s *scenarios.Scenario) string {
	const noAPIServer = "an API server: the vm lab has a kubelet without one, "
	switch {
	case s.Node.Domain == qos.LevelGlobal:
		return "a machine that is the node: the vm lab lets one run out of memory without a kubelet alone"
	case s.Node.Kubelet.MemorySwap != nil && s.Node.Kubelet.MemorySwap.SwapBehavior != "NoSwap":
		return noAPIServer + "whose pods are static, and the kubelet lets none of those swap"
	case s.Until.Evictions > 0 || len(s.Expect.Evicted) > 0:
		return noAPIServer + "whose pods are static, and the kubelet evicts none of those"
	case len(s.Expect.Refused)+len(s.Expect.Admitted) > 0:
		return noAPIServer + "whose pods are static, and the kubelet admits all of those"
	case s.SetsScore():
		return "a lab without a kubelet: the scenario sets an oomScoreAdj, which no pod can ask a kubelet for"
	case slices.ContainsFunc(s.Meanwhile, func(a scenarios.Action) bool { return a.Resize != nil }):
		return noAPIServer + "and nobody resizes a static pod"
	}
	for _, w := range s.Workloads {
		switch {
		case w.Job != nil:
			return noAPIServer + "and nobody carries out a Job"
		case w.After != "":
			return noAPIServer + "and nobody is told of the node's conditions"
		case w.Priority != 0:
			return noAPIServer + "and nobody knows of a PriorityClass"
		case slices.ContainsFunc(w.EachContainer(), func(c scenarios.Container) bool { return c.Exec != "" }):
			return noAPIServer + "and nobody executes a second process in a container"
		}
	}
	return ""
}

// makeCgroups makes the node's own cgroup and that of its daemons. The kubelet
// makes those of pods.
func (n *node) makeCgroups() error {
	dir := n.hierarchy.Dir(nodeCgroup)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the node's cgroup: %w", err)
	}
	if err := evidence.EnableControllers(dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.max"), fmt.Append(nil, int64(n.config.Capacity)), 0); err != nil {
		return fmt.Errorf("limit the node's cgroup: %w", err)
	}
	if err := os.MkdirAll(n.hierarchy.Dir(daemonsCgroup), 0o755); err != nil {
		return fmt.Errorf("make the daemons' cgroup: %w", err)
	}
	return nil
}

// describe finds out what the formulas and the evidence need to know, from the
// daemons themselves.
func (n *node) describe(ctx context.Context) error {
	raw, err := n.kubelet.get(ctx, "/configz")
	if err != nil {
		return err
	}
	settings, err := kubelet.ParseSettings(raw)
	if err != nil {
		return err
	}
	versions, err := n.versions()
	if err != nil {
		return err
	}
	if n.config.Version, err = qos.ParseVersion(versions["kubelet"]); err != nil {
		return err
	}
	n.facts = record.Node{
		Name: nodeName, Capacity: n.config.Capacity, Cgroup: nodeCgroup, Kubepods: n.config.Kubepods(),
		Settings: settings, Versions: versions,
	}
	return nil
}

// Facts describes the node.
func (n *node) Facts() record.Node { return n.facts }

// Kubelet is the kubelet, as configured.
func (n *node) Kubelet() qos.Node { return n.config }

// Owner says whose a memory cgroup is.
func (n *node) Owner(cgroup string) record.Owner { return n.owners.Of(cgroup) }

// Close ends the daemons. What they ran ends with the machine.
func (n *node) Close(context.Context) error {
	if n.stopOwners != nil {
		n.stopOwners()
	}
	if n.kubelet != nil && n.kubelet.Daemon != nil {
		n.kubelet.Stop()
	}
	if n.containerd != nil {
		n.containerd.Stop()
	}
	return nil
}
