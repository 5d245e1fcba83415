// Package explain says what an OOM report of the kernel means: what ran out,
// whose memory it was, why the kernel chose that process, whether the model of
// package oom agrees, and what would have changed the outcome. What the report
// does not tell stays open, with the reason; nothing is filled in.
//
// The arithmetic is the kernel's own, made from the report's task table, which
// shows what badness read (mm/oom_kill.c, dump_tasks).
package explain

import (
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/oomreport"
)

// Context is what is known beside the report. The zero Context is nothing.
type Context struct {
	// Pods give names to what the cgroup paths show as ids.
	Pods []Pod
	// Capacity is the node's memory as its kubelet sees it: MemTotal of
	// /proc/meminfo. 0: not known, unless Capacities or the report tell.
	Capacity mem.Bytes
	// Capacities are those of several nodes, by name.
	Capacities map[string]mem.Bytes
	// Kernel is used where the report does not name its kernel.
	Kernel oom.Version
}

// Explanation is what a report means.
type Explanation struct {
	At     oomreport.Position `json:"at"`
	Kernel string             `json:"kernel,omitempty"`
	// RanOut is what ran out of memory.
	RanOut RanOut `json:"ranOut"`
	// Trigger is who was allocating, nil where the log lacks it.
	Trigger *Trigger `json:"trigger,omitempty"`

	// PageSize converts the report's pages, PageSizeFrom says how it is known.
	PageSize     mem.Bytes `json:"pageSizeBytes"`
	PageSizeFrom string    `json:"pageSizeFrom"`
	// NodeMemory is the node's memory as its kubelet sees it, which requests
	// are a share of; 0: not known.
	NodeMemory mem.Bytes `json:"nodeMemoryBytes,omitempty"`
	// TotalPages is the size of what ran out, which oom_score_adj is a share of.
	TotalPages TotalPages `json:"totalPages"`
	// Ranking are the processes of the task table, most points first.
	Ranking []Row `json:"ranking,omitempty"`
	// Victim is the process that the kernel chose, nil where the log lacks it.
	Victim *Victim `json:"victim,omitempty"`
	// Killed are the processes that died, in the log's order.
	Killed []Killed `json:"killed,omitempty"`
	// GroupKill is the cgroup that died as a whole (memory.oom.group).
	GroupKill *Place `json:"groupKill,omitempty"`

	// Agreement compares the model's choice with the kernel's; Why says in
	// sentences what it rests on.
	Agreement Agreement `json:"agreement"`
	Why       []string  `json:"why,omitempty"`

	// Memory is what the memory really was, largest first.
	Memory []Part `json:"memory,omitempty"`
	// Changes would have changed the outcome; the model confirms each.
	Changes []Change `json:"changes,omitempty"`
	// NoChanges says why there are none.
	NoChanges string `json:"noChanges,omitempty"`

	// Notes are facts that a reader should know, Assumed what the arithmetic
	// takes for granted without the log saying so.
	Notes   []string `json:"notes,omitempty"`
	Assumed []string `json:"assumed,omitempty"`
	// Missing says what the log lacks of the report.
	Missing []string `json:"missing,omitempty"`
}

// Trigger is the process whose allocation failed.
type Trigger struct {
	oomreport.Trigger
	// Rank is its place in Ranking, from 1; 0: it is not there. (The table
	// lists processes, the trigger may be another thread of one of them.)
	Rank int `json:"rank,omitempty"`
	// IsVictim says that the kernel chose the allocating process itself.
	IsVictim bool `json:"isVictim,omitempty"`
}

// Row is a process with its badness.
type Row struct {
	// Candidate.Points are meaningless where TotalPages is not Known.
	oom.Candidate
	UID uint32 `json:"uid"`
	// Class is what the score says of the pod's QoS class, empty where it says
	// nothing.
	Class string `json:"class,omitempty"`
	// Excluded says why it can't be chosen: it has no points then.
	Excluded string `json:"excluded,omitempty"`
}

// Held is what badness counts without the score: rss, swap and page tables.
func (r Row) Held() mem.Pages { return r.RSS() + r.Swap + r.PageTables }

// RSS is the resident memory.
func (r Row) RSS() mem.Pages { return r.Anon + r.File + r.Shmem + r.UnsplitRSS }

// Victim is the process that the kernel chose.
type Victim struct {
	oomreport.Process
	// Row is its pid in Ranking, where it is the process of a thread that the
	// log names. 0: Ranking lacks it.
	Row int `json:"row,omitempty"`
	// Rank is its place in Ranking by points, from 1; 0: none.
	Rank  int   `json:"rank,omitempty"`
	Place Place `json:"place,omitzero"`
	// Score is badness in thousandths, as kernels before 5.0 print it;
	// ModelScore is the same by the model.
	Score      *int `json:"score,omitempty"`
	ModelScore *int `json:"modelScore,omitempty"`
}

// Killed is a process that died.
type Killed struct {
	oomreport.Process
	Held mem.Bytes `json:"heldBytes"` // anonymous, file and shared resident memory
	// OOMScoreAdj is nil where neither kill line nor table has it.
	OOMScoreAdj *int `json:"oomScoreAdj,omitempty"`
}

// Agreement says how the model's choice compares with the kernel's.
type Agreement string

// The agreements.
const (
	// Agrees: the kernel's victim has the most points.
	Agrees Agreement = "agrees"
	// Tie: it has the most points, and others have as many.
	Tie Agreement = "tie"
	// Undetermined: it has the most points only under an assumption, or lies
	// behind by no more than the kernel's counters are off.
	Undetermined Agreement = "undetermined"
	// Explained: another process has the most points, and the log says why the
	// kernel did not choose by points, or could not choose that one.
	Explained Agreement = "explained"
	// Disagrees: another process has the most points, for no known reason.
	Disagrees Agreement = "disagrees"
	// NotJudged: the log lacks the table, or the victim.
	NotJudged Agreement = "not-judged"
)

// Explainer explains the reports of one log in their order: a process that an
// earlier report killed may still be in a later one's table. The zero Explainer
// knows nothing beside the log.
type Explainer struct {
	Context
	earlier []earlier
}

// earlier is a kill of an earlier report.
type earlier struct {
	host string
	oomreport.Process
	at oomreport.Position
}

// maxEarlier bounds how many kills are remembered.
const maxEarlier = 1024

// Explain says what the next report of the log means.
func (x *Explainer) Explain(r *oomreport.Report) *Explanation {
	e := &Explanation{At: r.At, Kernel: r.Kernel, Missing: r.Missing, Agreement: NotJudged}
	c := newInquiry(r, x.Context, x.earlier)
	e.PageSize, e.PageSizeFrom = c.page, c.pageFrom
	e.RanOut = c.ranOut()
	e.TotalPages, e.NodeMemory = c.total, c.capacity()
	e.Memory = c.memory()
	c.fillKills(e)
	c.judge(e)
	c.fillTrigger(e)
	c.change(e)
	e.Notes = append(e.Notes, c.notes()...)
	e.Assumed = append(e.Assumed, c.assumed...)
	for _, k := range r.Kills {
		x.earlier = append(x.earlier, earlier{r.At.Host, oomreport.Process{PID: k.PID, Name: k.Name}, k.At})
	}
	x.earlier = x.earlier[max(0, len(x.earlier)-maxEarlier):]
	return e
}
