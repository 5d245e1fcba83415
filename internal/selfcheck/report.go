package selfcheck

import "github.com/oomlab/oomlab/internal/oom"

// Report is the result of a check.
type Report struct {
	Kernel    oom.Kernel `json:"kernel"`
	Seed      uint64     `json:"seed"`
	LowestAdj int        `json:"lowestOOMScoreAdj"`

	Experiments    int     `json:"experiments"`
	ElapsedSeconds float64 `json:"elapsedSeconds"`

	Forecast Tally `json:"forecast"`
	Replay   Tally `json:"replay"`
	// Needless counts the kills beyond the one that was enough, by cause.
	Needless map[Cause]int `json:"needlessKills"`
	// NoKill counts those in which the grower got all it wanted.
	NoKill int `json:"noKill"`
	// Unfit counts those that ran out of memory before they began; they are
	// not among Experiments.
	Unfit int `json:"unfit"`
	// Unseen counts those with a kill that the kernel's log lacks.
	Unseen int `json:"unseen"`
	// Differ counts those in which the trace and the log name other victims.
	Differ int `json:"sourcesDiffer"`
	// NoTrace says why there is no trace.
	NoTrace string `json:"noTrace,omitempty"`
	// LostRecords is how many records of the log or the trace were overwritten
	// before they were read.
	LostRecords uint64   `json:"lostRecords"`
	Files       []string `json:"files,omitempty"`
}

// Tally counts the agreements of one kind of prediction.
type Tally struct {
	Agree        int `json:"agree"`
	Disagree     int `json:"disagree"`
	Tie          int `json:"tie"`
	Undetermined int `json:"undetermined"`
	// TieNamed and UndeterminedNamed are those in which the kernel killed the
	// one that the model had put first.
	TieNamed          int `json:"tieNamed"`
	UndeterminedNamed int `json:"undeterminedNamed"`
}

// Judged is the number of all.
func (t Tally) Judged() int { return t.Agree + t.Disagree + t.Tie + t.Undetermined }

func (t *Tally) add(a Agreement, named bool) {
	one := 0
	if named {
		one = 1
	}
	switch a {
	case Agrees:
		t.Agree++
	case Disagrees:
		t.Disagree++
	case Tie:
		t.Tie++
		t.TieNamed += one
	case Undetermined:
		t.Undetermined++
		t.UndeterminedNamed += one
	}
}

func (r *Report) add(p Played, j Judgement) {
	r.Experiments++
	if len(p.Kills) == 0 {
		r.NoKill++
	}
	for _, n := range j.Needless {
		if r.Needless == nil {
			r.Needless = map[Cause]int{}
		}
		r.Needless[n.Cause]++
	}
	if j.SourcesDiffer {
		r.Differ++
	}
	r.Forecast.add(j.Forecast, j.ForecastNamed)
	r.Replay.add(j.Replay, j.ReplayNamed)
}
