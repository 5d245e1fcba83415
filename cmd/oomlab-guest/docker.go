package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mountForDocker mounts what programs on a whole system expect, and the second
// version of cgroups alone.
func mountForDocker() error {
	return mountAll([]mount{
		{"cgroup2", cgroupDir, "cgroup2", "nsdelegate"},
		{"tmpfs", "/run", "tmpfs", "mode=0755"},
		{"tmpfs", "/tmp", "tmpfs", ""},
		{"devpts", "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"},
		{"tmpfs", "/dev/shm", "tmpfs", ""},
		{"mqueue", "/dev/mqueue", "mqueue", ""},
	})
}

// delegateAll hands every controller down. Only a cgroup without processes can:
// they move into a leaf.
func delegateAll() error {
	leaf := filepath.Join(cgroupDir, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return fmt.Errorf("make a cgroup for init: %w", err)
	}
	procs, err := os.ReadFile(filepath.Join(cgroupDir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(procs)) {
		// Kernel threads stay where they are.
		_ = os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0)
	}
	controllers, err := os.ReadFile(filepath.Join(cgroupDir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(cgroupDir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("enable the %s controller: %w", c, err)
		}
	}
	return nil
}

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
	containerd, err := startDaemon("containerd")
	if err != nil {
		return nil, err
	}
	if err := containerd.await(ctx, func() error { _, err := os.Stat(socket); return err }); err != nil {
		return nil, err
	}
	docker, err := startDaemon("dockerd", "--storage-driver=overlay2", "--containerd="+socket)
	if err != nil {
		return nil, err
	}
	if err := docker.await(ctx, func() error { return command(ctx, "docker", "version").run() }); err != nil {
		return nil, err
	}
	return func() { docker.stop(); containerd.stop() }, nil
}

// daemon is a program that runs beside the one that this machine is for.
type daemon struct {
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan error
}

func startDaemon(name string, args ...string) (*daemon, error) {
	d := &daemon{name: name, log: "/var/log/" + name + ".log", cmd: exec.Command(name, args...), ended: make(chan error, 1)}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { d.ended <- d.cmd.Wait() }()
	return d, nil
}

// await waits until the daemon is ready. Its error has the end of its log.
func (d *daemon) await(ctx context.Context, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case exit := <-d.ended:
			text, _ := os.ReadFile(d.log)
			return fmt.Errorf("%s ended: %w: %s", d.name, exit, text[max(0, len(text)-2000):])
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w", d.name, ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(unix.SIGTERM) // it may have ended
	<-d.ended
}
