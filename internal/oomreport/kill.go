package oomreport

import "strings"

// takeSelection adds the line that names the victim before Linux 5.0; the kill
// follows as a line of its own. Kernels before 5.1 may kill a child instead.
func (a *Assembler) takeSelection(text string, at Position) bool {
	v := parseSelection(text)
	if v == nil {
		return false
	}
	if !a.open || a.stage >= selection {
		a.start(at)
	}
	v.Memcg = a.victimIn
	a.current.Victim = v
	a.setGlobal(text)
	return true
}

// takeKilled adds a kill. The first after a report is that report's. Later
// ones have no report, unless a group is being killed.
func (a *Assembler) takeKilled(text string, at Position) bool {
	k := parseKill(text)
	if k == nil {
		return false
	}
	k.At = at
	if known := a.killOf(k.PID); known != nil {
		known.Times++
		k = known
	} else {
		if !a.open && !a.groupGoesOn(at) || a.open && a.isOfAnother(k) {
			a.start(at)
		}
		if len(a.current.Kills) < maxRows {
			a.current.Kills = append(a.current.Kills, k)
		}
	}
	a.setGlobal(text)
	a.open, a.lastKill = false, at
	a.events = append(a.events, Event{Kind: Killed, Report: a.current, Kill: k})
	return true
}

// isOfAnother says that a kill is not that of the open report, whose own the
// log has lost. The kernel may choose a process and name a thread of it, which
// may have another name but not another user.
func (a *Assembler) isOfAnother(k *Kill) bool {
	v := a.current.Victim
	if v == nil || v.UID == nil || v.PID == k.PID || v.Name == k.Name {
		return false
	}
	return a.current.Mixed || k.UID != nil && *v.UID != *k.UID
}

func (a *Assembler) killOf(pid int) *Kill {
	if a.current == nil {
		return nil
	}
	for _, k := range a.current.Kills {
		if k.PID == pid {
			return k
		}
	}
	return nil
}

// groupGoesOn says that a kill belongs to the memory.oom.group of the latest
// report. A "Killed process" line does not name its cgroup, so the time tells.
func (a *Assembler) groupGoesOn(at Position) bool {
	return a.current != nil && a.current.GroupKill != "" &&
		(at.Uptime == 0 || at.Uptime-a.lastKill.Uptime <= groupGap)
}

// setGlobal reads from a kill's message what ran out, where nothing else told.
func (a *Assembler) setGlobal(text string) {
	if a.current.Domain == "" && strings.HasPrefix(text, "Out of memory") {
		a.current.Global = true
	}
}

// takeInstead adds what the kernel prints beside or instead of a kill.
func (a *Assembler) takeInstead(k kind, text string, at Position) bool {
	spared, whole := parseExiting(text)
	if k == exiting && !whole {
		return false
	}
	goesOn := a.open
	switch k {
	case exiting:
		goesOn = goesOn || a.groupGoesOn(at)
	case groupKill: // comes after the first kill
		goesOn = a.current != nil
	case panicked:
		goesOn = goesOn || a.current != nil && a.current.NoKillable
	}
	if !goesOn {
		a.start(at)
	}
	r := a.current
	switch k {
	case exiting:
		if len(r.Exiting) < maxLines {
			r.Exiting = append(r.Exiting, spared)
		}
	case groupKill:
		r.GroupKill = strings.TrimPrefix(text[:strings.LastIndex(text, groupSuffix)], "Tasks in ")
		a.lastKill = at
	case noKillable:
		r.NoKillable = true
	case panicked:
		r.Panic = strings.TrimPrefix(text, panicMark)
	}
	a.open = false
	return true
}

// takeReaped adds the reaper's line to the latest report. Where there is none,
// the line is all that the log has.
func (a *Assembler) takeReaped(text string, at Position) bool {
	reaped, ok := parseReaped(text)
	if !ok {
		return false
	}
	reaped.At = at
	if a.current == nil {
		a.start(at)
		a.open = false
	}
	if r := a.current; len(r.Reaped) < maxLines {
		r.Reaped = append(r.Reaped, reaped)
	}
	a.events = append(a.events, Event{Kind: Reaping, Report: a.current, Reaped: &reaped})
	return true
}
