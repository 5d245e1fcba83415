package oomreport

import "fmt"

// finish concludes what only a whole report can tell.
func finish(r *Report) {
	// Only a report about the machine prints its size.
	if r.Domain == "" && r.Memory == nil && r.Constraint != ConstraintMemcg && r.Trigger != nil && r.Machine != nil {
		r.Global = true
	}
	r.Missing = missing(r)
}

// missing says what a report lacks, in the order in which the kernel prints it.
func missing(r *Report) []string {
	var out []string
	lack := func(absent bool, format string, args ...any) {
		if absent {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	if r.Bare() {
		return []string{"the report about the kill: the kernel's rate limit or the log withheld it"}
	}
	t := r.Trigger
	lack(t == nil, "the header, \"invoked oom-killer\": who allocated, and in which order")
	lack(t != nil && t.Name == "", "the name of the allocating process: the line has an unknown prefix")
	lack(t != nil && (t.GFPMask == "" || t.Order == nil || t.OOMScoreAdj == nil), "the end of the header: it is cut")
	lack(t != nil && t.PID == 0, "the trace header: the allocating pid, its CPU and the kernel release")
	memcg := r.Domain != "" || r.Constraint == ConstraintMemcg || r.Memory != nil ||
		len(r.Kills) > 0 && r.Kills[0].Message == "Memory cgroup out of memory"
	lack(!memcg && !r.Global, "what ran out: a memory cgroup or the machine")
	lack(memcg && r.Domain == "", "the path of the memory cgroup that ran out")
	lack(memcg && r.Memory == nil, "usage and limit of the memory cgroup")
	lack(r.Global && (r.Machine == nil || r.Machine.RAM == nil || r.Machine.SwapTotal == nil), "the size of the machine: RAM, reserved and swap")
	lack(r.Columns == nil, "the task table: its heading")
	lack(r.Columns != nil && len(r.Tasks) == 0, "the rows of the task table")
	lack(len(r.Tasks) >= maxRows, "rows of the task table after the first %d", maxRows)
	if !r.NoKillable {
		lack(r.Constraint == "" && (r.Victim == nil || r.Victim.Score == nil), "the oom-kill: line: constraint, domain and victim")
		lack(r.Constraint != "" && r.Victim == nil, "the end of the oom-kill: line: it is cut")
		lack(len(r.Kills) == 0, "the \"Killed process\" line")
	}
	lack(r.Mixed, "which of its lines are of one report: they contradict each other")
	lack(r.Backwards, "what belongs before its first line: the log runs backwards there (turn it around, as tac does), or another boot begins")
	lack(r.LostRecords > 0, "%d records of /dev/kmsg from its middle", r.LostRecords)
	return out
}
