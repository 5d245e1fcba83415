package reconcile

import (
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// signalled is the exit code of a process that a signal has ended, less the
// signal's number; killed137 is that of SIGKILL.
const (
	signalled = 128
	killed137 = signalled + 9
)

// addRuntime holds the kills against what the runtime says of each container.
func (w Witnesses) addRuntime(r *Result, onlyCounted map[record.Owner]int) {
	for _, pod := range w.After {
		for _, c := range pod.Containers {
			owner := record.Owner{Workload: pod.Workload, Pod: pod.Name, Container: c.Name, Level: qos.LevelContainer}
			w.addContainer(r, pod, c, onlyCounted[owner])
		}
	}
}

func (w Witnesses) addContainer(r *Result, pod record.Pod, c record.Container, onlyCounted int) {
	var kills []int // of this container, by index
	decisions := map[int]struct{}{}
	main := false
	for i, k := range r.Kills {
		if k.Owner.Pod == pod.Name && k.Owner.Container == c.Name {
			kills = append(kills, i)
			decisions[k.Decision] = struct{}{}
			main = main || k.Main
		}
	}
	none := len(kills)+onlyCounted == 0
	ended, restarts := w.sinceBefore(pod, c)
	say := func(name, format string, args ...any) {
		where := fmt.Sprintf("%s/%s", pod.Name, c.Name)
		r.find(record.Finding{Name: name, Text: where + " " + fmt.Sprintf(format, args...)})
	}
	switch {
	case ended == nil:
	case ended.Reason == "OOMKilled" && none:
		say("reported-OOMKilled-without-kernel-kill", "is reported as OOMKilled with exit code %d, and neither the kernel's log and trace nor its cgroup has a kill", ended.ExitCode)
	case ended.Reason == "OOMKilled":
		for _, i := range kills {
			if !w.NoRuntime {
				r.Kills[i].Sources = append(r.Kills[i].Sources, Runtime)
			}
		}
		if len(kills) > 0 && !main && ended.ExitCode > signalled {
			say("OOMKilled-for-a-child", "is reported as OOMKilled with exit code %d, but the kernel killed only a child, process %d: it was a signal of somebody else's that ended the container",
				ended.ExitCode, r.Kills[kills[0]].PID)
		}
	case ended.ExitCode == killed137 && ended.Reason == "Error" && main:
		say("killed-but-reported-Error", "was killed by the kernel, and is reported as Error with exit code %d", ended.ExitCode)
	case ended.ExitCode == killed137 && none && !pod.Evicted():
		say("exit-137-without-oom", "ended with exit code %d, and the kernel killed nobody there: somebody else sent SIGKILL", ended.ExitCode)
	}
	if c.Running && ended == nil {
		for _, i := range kills {
			if k := r.Kills[i]; !k.Main {
				say("child-killed-silently", "goes on after the kernel killed its process %d, %s: no status tells of it", k.PID, k.Freed.Human())
			}
		}
	}
	// Of an evicted pod the kubelet may have lost sight: ContainerStatusUnknown
	// counts as a restart.
	if reasons := len(decisions) + onlyCounted; restarts > reasons && !pod.Evicted() {
		say("restart-without-kill", "was restarted %d times, and the kernel decided %d times to kill there", restarts, reasons)
	}
}

// sinceBefore returns how the container ended, and how often it was restarted,
// since the pressure began; nil if it has not ended since.
func (w Witnesses) sinceBefore(pod record.Pod, c record.Container) (ended *record.Termination, restarts int) {
	var before record.Container
	if i := slices.IndexFunc(w.Before, func(p record.Pod) bool { return p.UID == pod.UID }); i >= 0 {
		cs := w.Before[i].Containers
		if j := slices.IndexFunc(cs, func(b record.Container) bool { return b.Name == c.Name }); j >= 0 {
			before = cs[j]
		}
	}
	restarts = c.RestartCount - before.RestartCount
	if c.Ended == nil || restarts == 0 && before.Ended != nil && before.Ended.Finished.Equal(c.Ended.Finished) {
		return nil, restarts
	}
	return c.Ended, restarts
}

// addRestarts notes how long it took until a container whose first process was
// killed had another one.
func (w Witnesses) addRestarts(r *Result) {
	for i := range r.Kills {
		k := &r.Kills[i]
		if !k.Main {
			continue
		}
		for _, p := range w.Processes {
			after := w.Boot.Add(p.Started).Sub(k.Time).Seconds()
			if !p.Main || after <= 0 || w.Owner(p.Cgroup) != k.Owner {
				continue
			}
			if k.RestartedAfterSeconds == nil || after < *k.RestartedAfterSeconds {
				k.RestartedAfterSeconds = &after
			}
		}
	}
}
