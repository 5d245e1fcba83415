// Package whatif changes a scenario (a request, a limit, a class, a size, the
// node) and says how the forecast changes.
package whatif

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/forecast"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/scenarios"
)

// Process names a process of a scenario: the Index-th, from 0, of a container.
// An empty Container is the only one of the workload.
type Process struct {
	Workload  string `json:"workload"`
	Container string `json:"container,omitempty"`
	Index     int    `json:"index,omitempty"`
}

// String writes p as people name it.
func (p Process) String() string {
	name := p.Workload
	if p.Container != "" && p.Container != p.Workload {
		name += "/" + p.Container
	}
	if p.Index > 0 {
		name += fmt.Sprintf(", process %d", p.Index+1)
	}
	return name
}

// Change is one thing that is otherwise.
type Change struct {
	// What is request, limit, size or class, of Of; or node.
	What string
	Of   Process
	// Memory is the new amount, for all but class.
	Memory mem.Bytes
	Class  qos.Class
}

// String says what is otherwise.
func (c Change) String() string {
	switch c.What {
	case "node":
		return "The node has " + c.Memory.Human()
	case "class":
		return fmt.Sprintf("The class of %s is %s", c.Of, c.Class)
	}
	return fmt.Sprintf("The %s of %s is %s", c.What, c.Of, c.Memory.Human())
}

// Apply returns a copy of s with the changes. What the scenario expects is left
// out of it, because that was the story before. The error says everything that
// is wrong.
func Apply(s *scenarios.Scenario, changes []Change) (*scenarios.Scenario, error) {
	changed, err := clone(s)
	if err != nil {
		return nil, err
	}
	changed.Expect, changed.Control = scenarios.Expect{}, nil
	changed.Story = "This, with changes: " + s.Title + "."
	var errs []error
	for _, c := range changes {
		changed.Story += " " + c.String() + "."
		if err := c.apply(changed); err != nil {
			errs = append(errs, fmt.Errorf("change the %s of %s: %w", c.What, c.Of, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	changed.Title = "What if: " + s.Title
	return clone(changed) // which validates it
}

func clone(s *scenarios.Scenario) (*scenarios.Scenario, error) {
	var file bytes.Buffer
	if err := s.Write(&file); err != nil {
		return nil, err
	}
	return scenarios.Parse(s.Metadata.Name, &file)
}

func (c Change) apply(s *scenarios.Scenario) error {
	if c.What == "node" {
		s.Node.Memory = *scenarios.MemoryOf(c.Memory)
		return nil
	}
	w, containers, err := find(s, c.Of)
	if err != nil {
		return err
	}
	if c.What == "class" {
		return c.giveClass(w, all(w))
	}
	if len(containers) > 1 {
		return errors.New("it has several containers: name one of them, as workload/container")
	}
	container := containers[0]
	switch c.What {
	case "request":
		container.Requests.Memory, container.OOMScoreAdj = scenarios.MemoryOf(c.Memory), nil
	case "limit":
		container.Limits.Memory = scenarios.MemoryOf(c.Memory)
	case "size":
		return c.giveSize(container)
	default:
		return fmt.Errorf("there is no such thing: want request, limit, size, class or node")
	}
	return nil
}

// find returns the workload and the containers that p may mean.
func find(s *scenarios.Scenario, p Process) (*scenarios.Workload, []*scenarios.Container, error) {
	var names []string
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if w.Name != p.Workload {
			names = append(names, w.Name)
			continue
		}
		containers := all(w)
		if p.Container != "" && len(w.Containers) > 0 {
			containers = slices.DeleteFunc(containers, func(c *scenarios.Container) bool { return c.Name != p.Container })
		} else if p.Container != "" && p.Container != w.Name {
			containers = nil
		}
		if len(containers) == 0 {
			return nil, nil, fmt.Errorf("workload %s has no container %q", w.Name, p.Container)
		}
		return w, containers, nil
	}
	return nil, nil, fmt.Errorf("no workload is called %q: there are %s", p.Workload, strings.Join(names, ", "))
}

func all(w *scenarios.Workload) []*scenarios.Container {
	if len(w.Containers) == 0 {
		return []*scenarios.Container{&w.Container}
	}
	var out []*scenarios.Container
	for i := range w.Containers {
		out = append(out, &w.Containers[i])
	}
	return out
}

// giveClass gives a pod another class, by what its containers ask for.
func (c Change) giveClass(w *scenarios.Workload, containers []*scenarios.Container) error {
	for _, container := range containers {
		container.OOMScoreAdj = nil
		switch c.Class {
		case qos.BestEffort:
			container.Requests, container.Limits = scenarios.Resources{}, scenarios.Resources{}
		case qos.Burstable:
			container.Requests.CPU, container.Limits.CPU = nil, nil
			if container.Requests.Memory == nil && container.Limits.Memory == nil {
				return errors.New("a Burstable pod asks for something: change its request")
			}
		case qos.Guaranteed:
			limit := container.Limits
			if limit.Memory == nil {
				return errors.New("a Guaranteed pod has limits: change its limit as well")
			}
			if limit.CPU == nil {
				limit.CPU = &scenarios.CPU{Millicores: 500}
			}
			container.Requests, container.Limits = scenarios.Resources{}, limit
		default:
			return fmt.Errorf("%q: want Guaranteed, Burstable or BestEffort", c.Class)
		}
	}
	if c.Class == qos.BestEffort {
		w.Resources = nil
	}
	return nil
}

func (c Change) giveSize(container *scenarios.Container) error {
	plan := "fill " + c.Memory.String()
	switch {
	case c.Of.Index > len(container.Beside):
		return errors.New("it has no so many processes")
	case c.Of.Index > 0:
		container.Beside[c.Of.Index-1] = plan
	case container.Press != "":
		return errors.New("it presses, and ends as large as the others leave it: change theirs, or the limit")
	default:
		container.Balloon = plan
	}
	return nil
}

// Victim is a process that the kernel kills.
type Victim struct {
	Process
	// Pod is the workload's pod.
	Pod string `json:"pod"`
	// Restarted says that it is not the first one of its container.
	Restarted bool `json:"restarted,omitempty"`
	// Step is the kill that it dies in, from 1, and Lead how far that kill's
	// victim is ahead of the next candidate.
	Step int       `json:"step"`
	Lead mem.Bytes `json:"leadBytes"`
}

// same: the lead does not matter.
func (v Victim) same(o Victim) bool {
	v.Lead, o.Lead = 0, 0
	return v == o
}

// Answer is the forecast before and after.
type Answer struct {
	Before *forecast.Forecast `json:"before"`
	After  *forecast.Forecast `json:"after"`
	// VictimsBefore and VictimsAfter are the processes that the kernel kills,
	// in order.
	VictimsBefore []Victim `json:"victimsBefore"`
	VictimsAfter  []Victim `json:"victimsAfter"`
	// EvictedBefore and EvictedAfter are the pods that the kubelet evicts.
	EvictedBefore []string `json:"evictedBefore,omitempty"`
	EvictedAfter  []string `json:"evictedAfter,omitempty"`
	// Changed says that they are not the same.
	Changed bool `json:"changed"`
	// Close says that one of the two forecasts is a tie, or within the error of
	// the kernel's counters.
	Close bool `json:"close"`
}

// Ask makes the forecast of both.
func Ask(before, after *scenarios.Scenario, old, now forecast.Options) (*Answer, error) {
	var a Answer
	var err error
	if a.Before, err = forecast.Predict(before, old); err != nil {
		return nil, fmt.Errorf("before: %w", err)
	}
	if a.After, err = forecast.Predict(after, now); err != nil {
		return nil, fmt.Errorf("after: %w", err)
	}
	a.VictimsBefore, a.VictimsAfter = victims(a.Before), victims(a.After)
	a.EvictedBefore, a.EvictedAfter = evicted(a.Before), evicted(a.After)
	a.Changed = !slices.EqualFunc(a.VictimsBefore, a.VictimsAfter, Victim.same) || !slices.Equal(a.EvictedBefore, a.EvictedAfter)
	a.Close = closeCall(a.Before) || closeCall(a.After)
	return &a, nil
}

// victims says who is killed. A restarted process has another pid, which the
// forecast knows no owner of, and the name of the one before.
func victims(f *forecast.Forecast) []Victim {
	all := []Victim{}
	if f.Kernel == nil {
		return all
	}
	if f.Kubelet != nil {
		if evicts, _ := f.Kubelet.First(); evicts {
			return all
		}
	}
	byName := map[string]int{}
	for _, t := range f.Snapshot.Tasks {
		if _, ok := byName[t.Name]; !ok {
			byName[t.Name] = t.PID
		}
	}
	for i, step := range f.Kernel.Steps {
		for _, pid := range step.Kills {
			v := Victim{Step: i + 1, Lead: step.Margin.Bytes(f.Snapshot.Kernel.PageSize)}
			if _, ok := f.Owners[pid]; !ok {
				v.Restarted = true
				i := slices.IndexFunc(step.Candidates, func(c oom.Candidate) bool { return c.PID == pid })
				pid = byName[step.Candidates[max(i, 0)].Name]
			}
			owner := f.Owners[pid]
			v.Pod, v.Process = owner.Pod, Process{Workload: owner.Workload, Container: owner.Container}
			for _, t := range f.Snapshot.Tasks {
				if t.PID < pid && f.Owners[t.PID] == owner {
					v.Index++
				}
			}
			all = append(all, v)
		}
	}
	return all
}

func evicted(f *forecast.Forecast) []string {
	if f.Kubelet == nil {
		return nil
	}
	return f.Kubelet.Evicted
}

func closeCall(f *forecast.Forecast) bool {
	return f.Kernel != nil && slices.ContainsFunc(f.Kernel.Steps, func(s oom.Step) bool { return s.Outcome != oom.OutcomeVictim && s.Victim != 0 })
}

// Expect turns a forecast into what a run of the scenario is to show.
func Expect(f *forecast.Forecast) scenarios.Expect {
	var e scenarios.Expect
	if e.Evicted = evicted(f); len(e.Evicted) > 0 {
		return e
	}
	for _, v := range victims(f) {
		if !slices.Contains(e.Killed, v.Workload) {
			e.Killed = append(e.Killed, v.Workload)
		}
	}
	if len(e.Killed) == 0 {
		none := 0
		e.Kills = &none
	}
	return e
}
