package host

import "github.com/oomlab/oomlab/internal/record"

// Record returns what a run record keeps of the facts.
func (f Facts) Record() record.Host {
	return record.Host{
		Kernel: f.Kernel, CPUs: f.CPUs, MemTotal: f.MemTotal, SwapTotal: f.SwapTotal, CgroupVersion: f.CgroupVersion,
		HugePages: f.HugePages, THP: f.THP, LRUGen: f.LRUGen, LowestAdj: f.LowestAdj, LowestAdjProof: f.lowerAdjProof(),
	}
}
