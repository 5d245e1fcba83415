package oom

import (
	"time"

	"github.com/oomlab/oomlab/internal/mem"
)

// Snapshot is what the kernel would see if it ran out of memory now.
type Snapshot struct {
	Time    time.Time `json:"time"`
	Kernel  Kernel    `json:"kernel"`
	Cgroups []Cgroup  `json:"cgroups,omitempty"`
	Tasks   []Task    `json:"tasks"`
	// Available is what the whole machine can still hand out, MemAvailable of
	// /proc/meminfo. Only PredictSequence looks at it. nil: not known.
	Available *mem.Pages `json:"availablePages,omitempty"`
	// FromReport says that the tasks are the table of an OOM report. Then all
	// of them belong to the domain, Order is the row, which is the order of the
	// kernel's walk, and the counters are free of error: they are what the
	// kernel itself read.
	FromReport bool `json:"fromReport,omitempty"`
}

// Cgroup is one memory cgroup.
type Cgroup struct {
	// Path is absolute from the root of the host's hierarchy, as the kernel
	// prints it: "/kubepods.slice/kubepods-besteffort.slice".
	Path string `json:"path"`
	// ID is the inode number of the cgroup's directory. The kernel walks
	// siblings in the order in which they were created, which is that of ID.
	ID uint64 `json:"id,omitempty"`
	// Limit is memory.max, or memory.limit_in_bytes of cgroup v1.
	Limit mem.Limit `json:"limitBytes"`
	// Usage is memory.current, or memory.usage_in_bytes of cgroup v1.
	Usage mem.Bytes `json:"usageBytes"`
	// SwapLimit is memory.swap.max, or memory.memsw.limit_in_bytes of cgroup
	// v1, which counts memory and swap. Absent is the same as unlimited: so
	// it is where swap is not accounted.
	SwapLimit mem.Limit `json:"swapLimitBytes"`
	// SwapUsage is what the cgroup has in swap: memory.swap.current, or
	// memory.memsw.usage_in_bytes less Usage in cgroup v1.
	SwapUsage mem.Bytes `json:"swapUsageBytes,omitempty"`
	// Reclaimable is the page cache within Usage that the kernel drops before
	// it kills anybody. Only PredictSequence looks at it.
	Reclaimable mem.Bytes `json:"reclaimableBytes,omitempty"`
	// Swappiness is memory.swappiness of cgroup v1, or vm.swappiness, which
	// holds for every cgroup of v2. At 0 swap does not count as room.
	Swappiness int `json:"swappiness"`
	// OOMGroup is memory.oom.group (cgroup v2 only).
	OOMGroup bool `json:"oomGroup,omitempty"`
}

// Task is one process: a thread group with the memory that its threads share.
type Task struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	// Cgroup is the Path of the memory cgroup that the process is in.
	Cgroup string `json:"cgroup"`

	Anon  mem.Pages `json:"anonPages"`  // RssAnon
	File  mem.Pages `json:"filePages"`  // RssFile
	Shmem mem.Pages `json:"shmemPages"` // RssShmem
	// UnsplitRSS is resident memory of unknown kind: OOM reports of kernels
	// older than 6.8 print no more than the sum.
	UnsplitRSS mem.Pages `json:"unsplitRSSPages,omitempty"`
	Swap       mem.Pages `json:"swapPages,omitempty"` // VmSwap
	PageTables mem.Bytes `json:"pageTablesBytes"`     // VmPTE: page tables of all levels

	OOMScoreAdj int `json:"oomScoreAdj"` // -1000 to 1000
	Threads     int `json:"threads,omitempty"`
	// Order grows with the time at which the process was created: the kernel
	// walks tasks in this order, and equal scores fall to the last one.
	Order int `json:"order"`
	// Nodes are the memory nodes that the cpuset, or for a mempolicy domain
	// the bind policy, confines the process to. Empty: not confined.
	Nodes []int `json:"nodes,omitempty"`

	Kthread    bool `json:"kthread,omitempty"`    // PF_KTHREAD
	GlobalInit bool `json:"globalInit,omitempty"` // pid 1 of the initial namespace
	NoMM       bool `json:"noMM,omitempty"`       // every thread has given up its memory
	Vfork      bool `json:"vfork,omitempty"`      // a child that still borrows its parent's memory
	OOMSkip    bool `json:"oomSkip,omitempty"`    // MMF_OOM_SKIP: reaped, nothing left to free
	Victim     bool `json:"victim,omitempty"`     // chosen by an earlier OOM kill, still dying
	Origin     bool `json:"origin,omitempty"`     // in swapoff or KSM unmerge: killed first

	// ObservedOOMScore is /proc/PID/oom_score as read; the model never uses it.
	ObservedOOMScore *int `json:"observedOOMScore,omitempty"`
}

// RSS is the resident memory that badness counts: get_mm_rss().
func (t Task) RSS() mem.Pages { return t.Anon + t.File + t.Shmem + t.UnsplitRSS }

// find returns the task of that pid, or nil.
func (s Snapshot) find(pid int) *Task {
	for i := range s.Tasks {
		if s.Tasks[i].PID == pid {
			return &s.Tasks[i]
		}
	}
	return nil
}

// Constraint says what ran out, by the word that an OOM report has for it.
type Constraint string

// The constraints of mm/oom_kill.c.
const (
	ConstraintNone         Constraint = "CONSTRAINT_NONE"          // the whole machine
	ConstraintCPUSet       Constraint = "CONSTRAINT_CPUSET"        // the memory nodes of a cpuset
	ConstraintMemoryPolicy Constraint = "CONSTRAINT_MEMORY_POLICY" // the nodes of a bind policy
	ConstraintMemcg        Constraint = "CONSTRAINT_MEMCG"         // a memory cgroup
)

// Domain is what ran out of memory.
type Domain struct {
	Constraint Constraint `json:"constraint"`
	// Path is the memory cgroup that ran out, in a ConstraintMemcg.
	Path string `json:"path,omitempty"`
	// Nodes are the memory nodes that the allocation was confined to.
	Nodes []int `json:"nodes,omitempty"`
}

// Global is the domain of a machine that ran out of memory as a whole.
var Global = Domain{Constraint: ConstraintNone}

// Memcg is the domain of a memory cgroup that reached its limit.
func Memcg(path string) Domain { return Domain{Constraint: ConstraintMemcg, Path: path} }
