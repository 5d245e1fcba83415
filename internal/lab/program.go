package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/proc"
)

// The environment variables that name ready-made programs.
const (
	StressorEnv = "OOMLAB_STRESSOR"
	GuestEnv    = "OOMLAB_GUEST"
	NodeEnv     = "OOMLAB_NODE"
)

// Stressor returns the path of the stressor's program: the one that
// OOMLAB_STRESSOR names, or oomlab-stressor next to this program, or else one
// built from the sources that the working directory is in.
func Stressor(ctx context.Context) (string, error) {
	return program(ctx, StressorEnv, "oomlab-stressor", "github.com/oomlab/oomlab/stressor")
}

// Guest returns the path of the program that a virtual machine starts as its
// init, found in the same way: OOMLAB_GUEST, or oomlab-guest.
func Guest(ctx context.Context) (string, error) {
	return program(ctx, GuestEnv, "oomlab-guest", "github.com/oomlab/oomlab/cmd/oomlab-guest")
}

// Node returns the path of the program that runs a scenario in a virtual machine
// with a kubelet, found in the same way: OOMLAB_NODE, or oomlab-node.
func Node(ctx context.Context) (string, error) {
	return program(ctx, NodeEnv, "oomlab-node", "github.com/oomlab/oomlab/cmd/oomlab-node")
}

func program(ctx context.Context, env, name, pkg string) (string, error) {
	if path := os.Getenv(env); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", env, err)
		}
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	dir, err := cache.Dir("programs")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	build := proc.Command(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := proc.Run(build); err != nil {
		return "", fmt.Errorf("build %s: %w\nrun make build, or name a built one in %s", name, err, env)
	}
	return path, nil
}
