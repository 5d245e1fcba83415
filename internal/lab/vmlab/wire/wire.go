// Package wire is what the vm lab and the init of its machines tell each other.
// The job lies in the initramfs; the messages come over the second serial port,
// a line of JSON each. The kernel's log has the first port for itself.
package wire

import (
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

const (
	// JobFile is where the job lies in the initramfs.
	JobFile = "/job.json"
	// Tests is where a test program lies that is run in place of a scenario.
	Tests = "/tests"
)

// The disks of a machine that has them, in their order.
const (
	// RootDisk has the root file system, with docker in it.
	RootDisk = "/dev/vda"
	// InputDisk has the program with what it needs, mounted at InputDir, and
	// below ModulesDir the kernel's modules, a directory for its release.
	InputDisk  = "/dev/vdb"
	InputDir   = "/oomlab"
	ModulesDir = "modules"
	// OutputDisk takes the results, as a tar stream.
	OutputDisk = "/dev/vdc"
)

// What a machine with a kubelet has besides, in its initramfs and later in
// InputDir: the program that runs the scenario there, and the archive with the
// stressor's image.
const (
	NodeProgram   = "oomlab-node"
	StressorImage = "stressor.tar"
)

// Job is what a machine is made for: a scenario, tests or a program. Without
// any it only proves that it boots.
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
	// Node says that the scenario is run next to a kubelet, on a machine with a
	// disk.
	Node *Node `json:"node,omitempty"`
	// Program is run instead of a scenario, on a machine with disks.
	Program *Program `json:"program,omitempty"`
	// Seed decides when the machine is disturbed; nil: never.
	Seed *int `json:"seed,omitempty"`
	// Modules are files of kernel modules in the initramfs that are loaded, in
	// this order, before there is a disk.
	Modules []string `json:"modules,omitempty"`
	// Swap is how much swap the machine gets, in a file on its disk; 0: none.
	Swap mem.Bytes `json:"swapBytes,omitempty"`
}

// Node is a machine whose disk has containerd and a kubelet.
type Node struct {
	// Image is what the archive calls the stressor's image.
	Image string `json:"image"`
	// Patience is how many times longer waits may take: see package patience.
	Patience int `json:"patience,omitempty"`
}

// Program is a program that needs a whole Linux system with docker, and the
// second version of cgroups alone.
type Program struct {
	// Argv, Dir and Env say what to start when docker answers. Dir and Results
	// are made.
	Argv []string `json:"argv"`
	Dir  string   `json:"dir,omitempty"`
	Env  []string `json:"env,omitempty"` // NAME=value, beyond the guest's own
	// Files are files of the input disk, by their names there, and where copies
	// of them are to be.
	Files map[string]string `json:"files,omitempty"`
	// Results is the directory whose files go to the output disk; empty: none.
	Results string `json:"results,omitempty"`
}

// Message is one line from the guest.
type Message struct {
	// Event is a line of the story.
	Event *record.Event `json:"event,omitempty"`
	// Line is a line that the program printed.
	Line string `json:"line,omitempty"`
	// ExitCode is the program's, in the last message.
	ExitCode int `json:"exitCode,omitempty"`
	// Done says that this is the last message: all is well unless Error says
	// otherwise. A run that could not be finished has both, as run.Run returns
	// them.
	Done   bool           `json:"done,omitempty"`
	Record *record.Record `json:"record,omitempty"`
	Error  string         `json:"error,omitempty"`
	// Log is the kernel's log, in the last message.
	Log string `json:"log,omitempty"`
}
