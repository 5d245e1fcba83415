package main

import (
	"math/rand/v2"
	"time"
)

// How a machine with a seed is disturbed: about 3% of its processor is taken,
// at moments that the seed decides.
const (
	shortestRest, longestRest = time.Millisecond, 10 * time.Millisecond
	longestBurst              = 300 * time.Microsecond
)

// perturb makes each seed another schedule. Where a machine's clocks count its
// instructions, every run would else be the same; on a real machine interrupts
// and other processes come in between at any moment. It never returns.
func perturb(seed int) {
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	for {
		time.Sleep(shortestRest + time.Duration(random.Int64N(int64(longestRest-shortestRest))))
		burst := time.Duration(random.Int64N(int64(longestBurst)))
		// Time passes by instructions: this is what takes it.
		for began := time.Now(); time.Since(began) < burst; {
		}
	}
}
