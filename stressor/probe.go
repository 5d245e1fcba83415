package main

import (
	"errors"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon"
)

// probe is what a liveness probe executes in the container, next to the
// balloon: it fails when the container uses as much as size or more.
func probe(size string) int {
	most, err := mem.ParseBytes(size)
	if err != nil {
		return fail(errors.New("-below: "+err.Error()), exitUsage)
	}
	usage, err := balloon.ReadUsage()
	if err != nil {
		return fail(err, exitError)
	}
	if usage >= most {
		return fail(errors.New("the container uses "+usage.Human()+", not less than "+most.Human()), exitError)
	}
	return exitDone
}
