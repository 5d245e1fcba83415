package qos

import (
	"math"

	"github.com/oomlab/oomlab/internal/mem"
)

// MemoryQoS (KEP-2570) protects requests from reclaim and throttles before the
// limit. It changes who is reclaimed and slowed down, never whom the kernel
// kills.

// defaultThrottlingFactor is memoryThrottlingFactor up to 1.36. From 1.37 it
// has no default, which leaves memory.high alone.
const defaultThrottlingFactor = 0.9

// protection is how requests are protected from reclaim.
type protection int

const (
	none   protection = iota
	hard              // up to 1.35: every request is memory.min
	tiered            // memoryReservationPolicy: min for Guaranteed, low for Burstable
)

func (n Node) memoryQoS() bool {
	on := n.Version >= 37
	if n.MemoryQoS != nil {
		on = *n.MemoryQoS
	}
	return on && n.unified()
}

func (n Node) protection() protection {
	switch {
	case !n.memoryQoS():
		return none
	case n.Version <= 35:
		return hard
	case n.TieredReservation:
		return tiered
	}
	return none
}

// protect returns the protection of the request of a pod or container.
func (n Node) protect(request mem.Limit, c Class) Limits {
	switch p := n.protection(); {
	case p == hard, p == tiered && c == Guaranteed:
		return Limits{Min: request}
	case p == tiered:
		return Limits{Low: request}
	}
	return Limits{}
}

// high returns memory.high for a request below a limit:
//
//	floor((request + factor*(limit-request)) / page) * page
func (n Node) high(request, limit mem.Bytes) mem.Limit {
	factor := 0.0
	switch {
	case n.ThrottlingFactor != nil:
		factor = *n.ThrottlingFactor
	case n.Version <= 36:
		factor = defaultThrottlingFactor
	}
	if !n.memoryQoS() || factor == 0 || limit <= request {
		return mem.Limit{}
	}
	page := n.PageSize
	if page == 0 {
		page = 4 * mem.KiB
	}
	bytes := math.Floor(float64(request) + (float64(limit)-float64(request))*factor)
	high := mem.Bytes(bytes/float64(page)) * page
	if high <= request {
		return mem.Limit{}
	}
	return mem.LimitOf(high)
}

// requestsOf sums the requests of the pods of a class.
func (n Node) requestsOf(pods []Pod, c Class) mem.Bytes {
	sum := mem.Bytes(0)
	for _, p := range pods {
		if ClassOf(p, n.Version) == c {
			sum += p.PodRequest(n.Version).Memory
		}
	}
	return sum
}
