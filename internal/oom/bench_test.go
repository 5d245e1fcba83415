package oom

import (
	"fmt"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// crowd is a node of 250 pods with n processes among them.
func crowd(n int) Snapshot {
	s := Snapshot{Kernel: testKernel(), Cgroups: []Cgroup{{Path: "/", Limit: mem.Max}, {Path: "/kubepods", Limit: mem.LimitOf(60 * mem.GiB), OOMGroup: false}}}
	for pod := range 250 {
		s.Cgroups = append(s.Cgroups, Cgroup{Path: fmt.Sprintf("/kubepods/pod%d", pod), ID: uint64(pod), Limit: mem.Max})
	}
	for i := range n {
		s.Tasks = append(s.Tasks, Task{
			PID: 100 + i, Order: i, Name: "worker", Cgroup: fmt.Sprintf("/kubepods/pod%d", i%250),
			Anon: mem.Pages(i * 7919 % 30011), File: 200, PageTables: 64 * mem.KiB,
			OOMScoreAdj: i*31%1998 - 997, Threads: 8,
		})
	}
	return s
}

// A node of 10,000 processes is judged in less than 5 ms.
func BenchmarkPredict10000(b *testing.B) {
	s := crowd(10_000)
	for b.Loop() {
		p, err := Predict(s, Memcg("/kubepods"), 0)
		if err != nil || len(p.Candidates) != 10_000 {
			b.Fatal(len(p.Candidates), err)
		}
	}
}
