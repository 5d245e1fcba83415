// Package wire is what the vm lab and the init of its machines tell each other.
// The job lies in the initramfs; the messages come over the second serial port,
// a line of JSON each. The kernel's log has the first port for itself.
package wire

import (
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

const (
	// JobFile is where the job lies in the initramfs.
	JobFile = "/job.json"
	// Tests is where a test program lies that is run in place of a scenario.
	Tests = "/tests"
	// Port is the guest's device for messages.
	Port = "/dev/ttyS1"
)

// Job is what a machine is made for. Without a scenario or tests it only
// proves that it boots.
type Job struct {
	Scenario *scenarios.Scenario `json:"scenario,omitempty"`
	// Tests says that the test program is to be run, with these arguments.
	Tests bool     `json:"tests,omitempty"`
	Args  []string `json:"args,omitempty"`
	// Kubelet is the version whose formulas give the scores.
	Kubelet qos.Version `json:"kubelet,omitzero"`
	// CgroupVersion is the hierarchy to mount, 1 or 2.
	CgroupVersion int `json:"cgroupVersion"`
	// User is the user to run the scenario as, in a cgroup that is delegated to
	// it; 0 is root.
	User int `json:"user,omitempty"`
	// Seed decides when the machine is disturbed; nil: never.
	Seed *int `json:"seed,omitempty"`
}

// Message is one line from the guest.
type Message struct {
	// Event is a line of the story.
	Event *record.Event `json:"event,omitempty"`
	// Done says that this is the last message: all is well unless Error says
	// otherwise. A run that could not be finished has both, as run.Run returns
	// them.
	Done   bool           `json:"done,omitempty"`
	Record *record.Record `json:"record,omitempty"`
	Error  string         `json:"error,omitempty"`
}
