package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/proc"
)

// programArg makes this program the second one of a machine with disks, which
// reads the job from its stdin: the first one only reaps.
const programArg = "program"

// hostSecond enters the disk, starts the second process, which does the job, and
// reaps until that has ended. What a machine with a kubelet brings along is in
// wire.InputDir then.
func hostSecond(job wire.Job) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	argv := []string{"/proc/self/fd/3", programArg}
	if job.Node != nil {
		argv = []string{filepath.Join(wire.InputDir, wire.NodeProgram)}
		if err := gatherInput(); err != nil {
			return err
		}
	}
	if err := enterDisk(job.Modules, job.Node != nil); err != nil {
		return err
	}
	if err := errors.Join(mountSystem(), delegateAll(), os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")); err != nil {
		return err
	}
	if err := proc.Run(proc.Command(context.Background(), "ip", "link", "set", "lo", "up")); err != nil {
		return err
	}
	if job.Swap > 0 {
		if err := addSwap(context.Background(), job.Swap); err != nil {
			return err
		}
	}
	data, err := json.Marshal(job)
	if err != nil {
		return err
	}
	second := exec.Command(argv[0], argv[1:]...) //nolint:noctx // the machine ends with it
	second.ExtraFiles = []*os.File{self}
	second.Stdin, second.Stdout, second.Stderr = bytes.NewReader(data), os.Stdout, os.Stderr
	if job.Node != nil && job.Node.Patience > 0 {
		second.Env = append(os.Environ(), fmt.Sprintf("%s=%d", patience.Env, job.Node.Patience))
	}
	if err := second.Start(); err != nil {
		return fmt.Errorf("start the second process: %w", err)
	}
	reapUntil(second.Process.Pid)
	return nil
}

// playProgram is the second process: it does the job and tells how it ended.
func playProgram(ctx context.Context) error {
	var job wire.Job
	if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	port, err := wire.OpenPort()
	if err != nil {
		return err
	}
	last := wire.Message{Done: true}
	if last.ExitCode, err = runProgram(ctx, *job.Program, port); err != nil {
		last.Error = err.Error()
	}
	return port.End(last)
}

// reapUntil is all that is left to the first process of a machine with
// containers in it: processes whose parents ended are its own.
func reapUntil(child int) {
	for {
		pid, err := unix.Wait4(-1, nil, 0, nil)
		if pid == child || errors.Is(err, unix.ECHILD) {
			return
		}
	}
}

// runProgram starts docker and runs the program next to it. Everything that it
// prints is told line by line. It returns the program's exit code.
func runProgram(ctx context.Context, p wire.Program, port *wire.Port) (code int, err error) {
	say := func(format string, args ...any) { _ = port.Send(wire.Message{Line: fmt.Sprintf(format, args...)}) }
	say("the disk is mounted after %s s", uptime())
	if err := mountInput(); err != nil {
		return 0, err
	}
	say("the system is ready after %s s", uptime())
	if err := makeRoom(p); err != nil {
		return 0, err
	}
	began := time.Now()
	stop, err := startDocker(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	say("docker is up after %.0f s", time.Since(began).Seconds())
	cmd := exec.CommandContext(ctx, p.Argv[0], p.Argv[1:]...)
	cmd.Dir, cmd.Env = p.Dir, append(os.Environ(), p.Env...)
	err = runTold(cmd, port)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	if p.Results != "" {
		err = errors.Join(err, writeResults(p.Results))
	}
	return code, err
}

// runTold runs cmd and sends all that it prints, a line each.
func runTold(cmd *exec.Cmd, port *wire.Port) error {
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	told := make(chan error, 1)
	go func() {
		var failed error
		for lines := bufio.NewReader(read); ; {
			line, err := lines.ReadString('\n')
			if line != "" {
				failed = errors.Join(failed, port.Send(wire.Message{Line: strings.TrimRight(line, "\r\n")}))
			}
			if err != nil {
				told <- failed
				return
			}
		}
	}()
	err := cmd.Run()
	_ = write.Close() // a pipe in memory
	return errors.Join(err, <-told)
}

// mountInput mounts the disk with what the program needs, and the modules of
// this kernel on it where everybody looks for them.
func mountInput() error {
	if err := os.MkdirAll(wire.InputDir, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", wire.InputDisk, err)
	}
	if err := unix.Mount(wire.InputDisk, wire.InputDir, "ext4", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s: %w", wire.InputDisk, err)
	}
	const modules = "/usr/lib/modules"
	if err := os.MkdirAll(modules, 0o755); err != nil {
		return fmt.Errorf("mount the kernel's modules: %w", err)
	}
	if err := unix.Mount(filepath.Join(wire.InputDir, wire.ModulesDir), modules, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the kernel's modules: %w", err)
	}
	return nil
}

// makeRoom makes the program's directories, and puts its files where it wants
// them.
func makeRoom(p wire.Program) error {
	for _, dir := range []string{p.Dir, p.Results} {
		if err := os.MkdirAll(dir, 0o755); dir != "" && err != nil {
			return fmt.Errorf("make room for the program: %w", err)
		}
	}
	for name, target := range p.Files {
		data, err := os.ReadFile(filepath.Join(wire.InputDir, name))
		if err == nil {
			err = os.WriteFile(target, data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("make room for the program: %w", err)
		}
	}
	return nil
}

// writeResults writes the files below dir as one tar stream to the disk for
// results.
func writeResults(dir string) error {
	disk, err := os.OpenFile(wire.OutputDisk, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("hand out the results: %w", err)
	}
	w := tar.NewWriter(disk)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), disk.Sync(), disk.Close()); err != nil {
		return fmt.Errorf("hand out the results: %w", err)
	}
	return nil
}

// uptime returns the seconds since the kernel started.
func uptime() string {
	text, _ := os.ReadFile("/proc/uptime") // nothing hangs on it
	seconds, _, _ := strings.Cut(string(text), " ")
	return seconds
}
