package oom

import "github.com/oomlab/oomlab/internal/mem"

// Pressure says how memory runs out: one process, the grower, takes all that
// is free, and again after each kill.
type Pressure struct {
	// Grower is the pid of the process that grows.
	Grower int `json:"grower"`
	// Peak is the resident memory at which the grower stops. 0: it never does.
	Peak mem.Pages `json:"peakPages,omitempty"`
	// Kills is after how many steps to stop. 0: when the grower stops or dies.
	Kills int `json:"kills,omitempty"`
	// Restart is the resident memory of the process that takes the place of a
	// victim: a restarted container. 0: nothing comes back.
	Restart mem.Pages `json:"restartPages,omitempty"`
}

// Sequence is a forecast of successive kills.
type Sequence struct {
	Steps []Step `json:"steps"`
	// End says why there is no further step.
	End string `json:"end"`
}

// Step is one kill of a Sequence. A step after one that is not OutcomeVictim
// holds only if that one went by the rule.
type Step struct {
	Prediction
	// Growth is what the grower took before this step.
	Growth mem.Pages `json:"growthPages"`
	// GrowerRSS is the resident memory of the grower in this step.
	GrowerRSS mem.Pages `json:"growerRSSPages"`
	// Freed is what the kill gave back.
	Freed mem.Pages `json:"freedPages"`
}
