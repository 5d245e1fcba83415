package selfcheck

import (
	"errors"
	"fmt"
	"slices"

	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
)

// Agreement says how a prediction compares with what the kernel did.
type Agreement string

// The agreements. A tie or an undetermined prediction names several legal
// victims; if the kernel chose another process, it is Disagrees all the same.
const (
	Agrees       Agreement = "agrees"
	Disagrees    Agreement = "disagrees"
	Tie          Agreement = "tie"
	Undetermined Agreement = "undetermined"
	NotJudged    Agreement = "not-judged"
)

// Judgement is what the kernel's deeds say about the model.
type Judgement struct {
	Forecast Agreement `json:"forecast"`
	// Replay judges the model by the kernel's own task table.
	Replay Agreement `json:"replay"`
	// ForecastNamed and ReplayNamed tell whether the victim was the one with
	// the most points: in doubt, how good the guess was.
	ForecastNamed bool `json:"forecastNamed"`
	ReplayNamed   bool `json:"replayNamed"`
	// Needless are the kills although the first one was enough.
	Needless []Needless `json:"needless,omitempty"`
	// SourcesDiffer says that the trace has other victims than the log.
	SourcesDiffer bool `json:"sourcesDiffer"`
	// Notes say what differs, or why something could not be judged.
	Notes []string `json:"notes,omitempty"`
}

// Needless is a kill beyond the one that was enough.
type Needless struct {
	PID   int   `json:"pid"`
	Cause Cause `json:"cause"`
}

// judge compares what was predicted with what happened.
func (p Played) judge() Judgement {
	j := Judgement{Forecast: NotJudged, Replay: NotJudged}
	var logged []int
	for _, k := range p.Kills {
		logged = append(logged, k.PID)
	}
	if slices.Sort(logged); p.Traced && !slices.Equal(logged, slices.Sorted(slices.Values(p.Marked))) {
		j.SourcesDiffer = true
		j.note("the log has the kills %v, the trace the victims %v", logged, p.Marked)
	}
	if len(p.Kills) == 0 {
		j.note("nobody was killed")
		return j
	}
	first := p.Kills[0]
	j.Forecast = compare(p.Forecast.Prediction, first.PID)
	j.ForecastNamed = p.Forecast.Victim == first.PID
	if r := first.Report; r != nil && r.Domain != "" && r.Domain != p.Forecast.Domain.Path {
		j.note("%s ran out, not %s", r.Domain, p.Forecast.Domain.Path)
		j.Forecast = Disagrees
	}
	if j.Forecast == Disagrees && p.DomainInDoubt {
		j.note("two limits were about to be reached at once")
		j.Forecast = Undetermined
	}
	dies := []int{first.PID}
	if j.ForecastNamed {
		dies = p.Forecast.Kills
	}
	for _, pid := range dies {
		if j.Forecast == Agrees && !slices.ContainsFunc(p.Kills, func(k Kill) bool { return k.PID == pid }) {
			j.note("process %d of the group was to die, and lives", pid)
			j.Forecast = Disagrees
		}
	}
	for _, k := range p.Kills {
		if !slices.Contains(dies, k.PID) && j.Forecast != Disagrees {
			cause, text := p.needless(k)
			j.Needless = append(j.Needless, Needless{k.PID, cause})
			j.note("%s", text)
		}
	}
	p.judgeReplay(&j, first)
	return j
}

func (p Played) judgeReplay(j *Judgement, first Kill) {
	snapshot, domain, err := fromReport(first.Report, p.Snapshot)
	if errors.Is(err, errNoTable) {
		return
	} else if err != nil {
		j.note("replay: %v", err)
		return
	}
	prediction, err := oom.Predict(snapshot, domain, 0)
	if err != nil {
		j.note("replay: %v", err)
		return
	}
	j.Replay = compare(prediction, first.PID)
	j.ReplayNamed = prediction.Victim == first.PID
}

func (j *Judgement) note(format string, args ...any) {
	j.Notes = append(j.Notes, fmt.Sprintf(format, args...))
}

func compare(p oom.Prediction, killed int) Agreement {
	switch {
	case killed != p.Victim && !slices.Contains(p.Rivals, killed):
		return Disagrees
	case p.Outcome == oom.OutcomeTie:
		return Tie
	case p.Outcome == oom.OutcomeUndetermined:
		return Undetermined
	}
	return Agrees
}

// Cause is why a needless kill came, as far as the kernel's report of it tells.
type Cause string

// The causes. Invisible: the kernel's task table lacks the first victim. Its
// threads have begun to exit, so that the scan of the cgroup passes over it
// (css_task_iter_advance, signal->live) and does not wait for it, although its
// memory is given back only afterwards.
const (
	Invisible Cause = "victim-invisible"
	NoTable   Cause = "no-table"
	Unknown   Cause = "unknown"
)

// needless finds the cause of a kill after the first, and says what is known.
func (p Played) needless(k Kill) (Cause, string) {
	first := p.Kills[0]
	text := fmt.Sprintf("process %d was killed %d ms after %d", k.PID, (k.Uptime - first.Uptime).Milliseconds(), first.PID)
	r := k.Report
	if r == nil || len(r.Tasks) == 0 || r.Memory == nil {
		return NoTable, text + "; the kernel printed no table"
	}
	if r.Task(first.PID) != nil {
		return Unknown, text + ", which is still in the table"
	}
	return Invisible, fmt.Sprintf("%s, which is not in the table; %s of %s are charged", text, r.Memory.Usage, r.Memory.Limit)
}

// errNoTable says that the kernel printed no task table.
var errNoTable = errors.New("the kernel's report has no task table")

// fromReport makes a snapshot of the kernel's own numbers: the task table and
// the limit of the cgroup that ran out. What a report does not tell, the kernel
// itself and swappiness, is taken from an earlier snapshot.
func fromReport(r *oomreport.Report, before oom.Snapshot) (oom.Snapshot, oom.Domain, error) {
	if r == nil || len(r.Tasks) == 0 || r.Memory == nil || r.Domain == "" {
		return oom.Snapshot{}, oom.Domain{}, errNoTable
	}
	if r.LostRecords > 0 || len(r.Missing) > 0 {
		return oom.Snapshot{}, oom.Domain{}, fmt.Errorf("the report is incomplete: %d records lost, %v", r.LostRecords, r.Missing)
	}
	domain := oom.Cgroup{Path: r.Domain, Limit: r.Memory.Limit, Usage: r.Memory.Usage}
	if r.MemSw != nil {
		domain.SwapLimit = r.MemSw.Limit
	} else if r.Swap != nil {
		domain.SwapLimit = r.Swap.Limit
	}
	for _, c := range before.Cgroups {
		if c.Path == r.Domain {
			domain.Swappiness = c.Swappiness
		}
	}
	s := oom.Snapshot{FromReport: true, Kernel: before.Kernel, Cgroups: []oom.Cgroup{domain}}
	for row, t := range r.Tasks {
		task := oom.Task{
			PID: t.TGID, Name: t.Name, Cgroup: r.Domain, Order: row, OOMScoreAdj: t.OOMScoreAdj, Swap: t.SwapEnts,
			PageTables: t.PgtablesBytes + t.PgtablesPages.Bytes(before.Kernel.PageSize), UnsplitRSS: t.RSS,
		}
		if by := t.RSSBy; by != nil {
			task.Anon, task.File, task.Shmem, task.UnsplitRSS = by.Anon, by.File, by.Shmem, 0
		}
		s.Tasks = append(s.Tasks, task)
	}
	return s, oom.Memcg(r.Domain), nil
}
