package oom

import "github.com/oomlab/oomlab/internal/mem"

// Outcome says what the kernel does.
type Outcome string

// The outcomes of an OOM.
const (
	// OutcomeVictim: one process has the most points, beyond doubt.
	OutcomeVictim Outcome = "victim"
	// OutcomeTie: several have the same, exactly known, number of points.
	// Victim is the one that the kernel's walk reaches last.
	OutcomeTie Outcome = "tie"
	// OutcomeUndetermined: the lead is within what the kernel's counters may
	// be off by. Victim is the one with the most points; Rivals may be it too.
	OutcomeUndetermined Outcome = "undetermined"
	// OutcomeKillAllocating: vm.oom_kill_allocating_task names the victim.
	OutcomeKillAllocating Outcome = "killAllocating"
	// OutcomeAborted: an earlier victim is still dying; nobody else is killed.
	OutcomeAborted Outcome = "aborted"
	// OutcomeNone: no process may be killed.
	OutcomeNone Outcome = "none"
	// OutcomePanic: the kernel panics.
	OutcomePanic Outcome = "panic"
)

// Prediction is the choice of a victim with every number that led to it.
type Prediction struct {
	Domain     Domain     `json:"domain"`
	TotalPages TotalPages `json:"totalPages"`
	Outcome    Outcome    `json:"outcome"`
	// Reason says in a few words why the outcome is what it is.
	Reason string `json:"reason"`
	// Victim is the pid that the kernel's rule chooses, or 0.
	Victim int `json:"victim,omitempty"`
	// Rivals are the other pids that may be chosen instead: equal points in a
	// tie, points within the counters' error when undetermined.
	Rivals []int `json:"rivals,omitempty"`
	// Margin is by how many points the victim leads. It is 0 without a second
	// candidate.
	Margin mem.Pages `json:"marginPages"`
	// CounterError is how far the difference between the points of the victim
	// and those of the second may be off.
	CounterError mem.Pages `json:"counterErrorPages"`
	// Kills are all the pids that die: the victim, and with Group the others.
	Kills []int  `json:"kills,omitempty"`
	Group *Group `json:"group,omitempty"`
	// Candidates are ranked: most points first, equal points last-walked first.
	Candidates []Candidate `json:"candidates"`
	Excluded   []Excluded  `json:"excluded,omitempty"`
	// Caveats say where the model is not sure of its own rules.
	Caveats []string `json:"caveats,omitempty"`
}

// TotalPages is the size of the domain, by which oom_score_adj is scaled.
type TotalPages struct {
	Pages mem.Pages `json:"pages"`
	Terms []Term    `json:"terms"`
}

// Term is one named summand.
type Term struct {
	Name  string    `json:"name"`
	Pages mem.Pages `json:"pages"`
}

// Group is a memory cgroup that dies as a whole (memory.oom.group).
type Group struct {
	Path string `json:"path"`
	PIDs []int  `json:"pids"`
}

// Candidate is a process that may be chosen, with its badness:
//
//	points = rss + swap + page tables + adj*(totalpages/1000)
type Candidate struct {
	PID    int    `json:"pid"`
	Name   string `json:"name"`
	Cgroup string `json:"cgroup"`

	Anon       mem.Pages `json:"anonPages"`
	File       mem.Pages `json:"filePages"`
	Shmem      mem.Pages `json:"shmemPages"`
	UnsplitRSS mem.Pages `json:"unsplitRSSPages,omitempty"`
	Swap       mem.Pages `json:"swapPages,omitempty"`
	PageTables mem.Pages `json:"pageTablesPages"`

	OOMScoreAdj int       `json:"oomScoreAdj"`
	AdjPages    mem.Pages `json:"adjPages"` // oomScoreAdj * (totalPages/1000)
	// Origin marks a process in swapoff or KSM unmerge. It has the highest
	// number that there is (LONG_MAX) for points, whatever its size.
	Origin bool      `json:"origin,omitempty"`
	Points mem.Pages `json:"points"`
	// Low and High bound the points that the kernel may compute, given the
	// error of its counters. They are equal to Points where that is zero.
	Low  mem.Pages `json:"lowPoints"`
	High mem.Pages `json:"highPoints"`
}

// Excluded is a process of the domain that can't be chosen.
type Excluded struct {
	PID    int    `json:"pid"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}
