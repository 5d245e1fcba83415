// Package conformance compares oomlab's model of the kubelet (internal/qos and
// internal/eviction) with the kubelet's own code over random pods, and the
// parser of OOM reports with the kubelet's copy of cAdvisor's. It holds
// nothing but tests, in a module of its own so that k8s.io/kubernetes stays out
// of oomlab's dependencies.
//
// go.mod pins the newest minor; the others have a module file and a build tag:
//
//	go test -mod=mod .
//	go test -mod=mod -modfile=v1.36.mod -tags=v1_36 .
//
// -mod=mod lets the module files follow oomlab's own go.mod; -pods=1000000
// compares more than the default. What the kubelet does not export, the limits
// of single containers, is not compared here.
package conformance
