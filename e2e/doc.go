// Package e2e is the end-to-end suite: every scenario of the catalog on a real
// kind cluster, with real pods that the real kernel kills. One It is one
// scenario; scenarios run in parallel, one worker node each. It needs root and
// Linux, and brings up everything else itself:
//
//	make e2e                     the quick scenarios and the negative controls
//	make e2e SCENARIO=qos-order  one of them
//	make e2e LABELS='eviction:hard && !long'
//
// The suite and the command line share the engine in internal/run: what this
// suite asserts, "oomlab run" shows. It has the build tag e2e, so that
// "go test ./..." does not count it as passed.
package e2e
