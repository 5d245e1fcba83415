package main

import (
	"context"
	"os/exec"
	"time"

	"github.com/oomlab/oomlab/internal/proc"
)

// dockerLimit bounds docker's start, which takes seconds.
const dockerLimit = 2 * time.Minute

// startDocker starts docker's daemon and waits until it answers. stop ends it,
// and with it its containerd.
func startDocker(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, dockerLimit)
	defer cancel()
	docker, err := proc.StartDaemon(exec.Command("dockerd", "--storage-driver=overlay2"), "/var/log/dockerd.log") //nolint:noctx // stop ends it
	if err != nil {
		return nil, err
	}
	if err := docker.Await(ctx, func() error { return proc.Run(proc.Command(ctx, "docker", "version")) }); err != nil {
		return nil, err
	}
	return docker.Stop, nil
}
