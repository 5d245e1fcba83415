package main

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/oomlab/oomlab/internal/proc"
)

// dockerLimit bounds docker's start, which takes half a minute where every
// instruction is translated and nothing else is to be done.
const dockerLimit = 20 * time.Minute

// startDocker starts containerd and docker's daemon and waits until that
// answers. dockerd itself would give containerd 15 s, which it may need more of
// here. stop ends both.
func startDocker(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, dockerLimit)
	defer cancel()
	const socket = "/run/containerd/containerd.sock"
	containerd, err := proc.StartDaemon(exec.Command("containerd"), "/var/log/containerd.log") //nolint:noctx // stop ends it
	if err != nil {
		return nil, err
	}
	if err := containerd.Await(ctx, func() error { _, err := os.Stat(socket); return err }); err != nil {
		return nil, err
	}
	docker, err := proc.StartDaemon(exec.Command("dockerd", "--storage-driver=overlay2", "--containerd="+socket), "/var/log/dockerd.log") //nolint:noctx // stop ends it
	if err != nil {
		return nil, err
	}
	if err := docker.Await(ctx, func() error { return proc.Run(proc.Command(ctx, "docker", "version")) }); err != nil {
		return nil, err
	}
	return func() { docker.Stop(); containerd.Stop() }, nil
}
