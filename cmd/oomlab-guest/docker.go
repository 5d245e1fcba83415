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
)

// newRoot is where the first disk is mounted before it becomes the root.
const newRoot = "/root"

// enterDisk loads the kernel modules that a disk needs and makes the first disk
// the root, as switch_root(8) does: containers can't pivot away from an
// initramfs.
func enterDisk(modules []string) error {
	for _, path := range modules {
		if err := loadModule(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := awaitFile(wire.RootDisk, 10*time.Second); err != nil {
		return err
	}
	if err := unix.Mount(wire.RootDisk, newRoot, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", wire.RootDisk, err)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("make the disk the root: %w", err)
	}
	if err := errors.Join(unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("make the disk the root: %w", err)
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load a kernel module: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

// awaitFile waits for what a driver makes when it has found its device.
func awaitFile(path string, limit time.Duration) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil || time.Since(began) > limit {
			return err
		}
	}
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
func runProgram(ctx context.Context, p wire.Program, port *port) (code int, err error) {
	say := func(format string, args ...any) { _ = port.send(wire.Message{Line: fmt.Sprintf(format, args...)}) }
	if err := mountForDocker(); err != nil {
		return 0, err
	}
	if err := delegateAll(); err != nil {
		return 0, err
	}
	if err := os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return 0, err
	}
	say("the disk is mounted after %s s", uptime())
	if err := mountInput(); err != nil {
		return 0, err
	}
	if err := command(ctx, "ip", "link", "set", "lo", "up").run(); err != nil {
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
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	told := make(chan struct{})
	go func() {
		defer close(told)
		lines := bufio.NewReader(read)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				say("%s", strings.TrimRight(line, "\r\n"))
			}
			if err != nil {
				return
			}
		}
	}()
	err = cmd.Run()
	_ = write.Close() // a pipe in memory
	<-told
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	if p.Results != "" {
		err = errors.Join(err, writeResults(p.Results))
	}
	return code, err
}

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

type program struct{ *exec.Cmd }

func command(ctx context.Context, argv ...string) program {
	return program{exec.CommandContext(ctx, argv[0], argv[1:]...)}
}

func (p program) run() error {
	if out, err := p.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(p.Args, " "), err, out)
	}
	return nil
}

// programArg makes this program the second one of a machine with disks, which
// reads the job from its stdin: the first one only reaps.
const programArg = "program"

// hostProgram enters the disk, starts the second process and reaps until that
// has ended.
func hostProgram(job wire.Job) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := enterDisk(job.Program.Modules); err != nil {
		return err
	}
	data, err := json.Marshal(job.Program)
	if err != nil {
		return err
	}
	second := exec.Command("/proc/self/fd/3", programArg)
	second.ExtraFiles = []*os.File{self}
	second.Stdin, second.Stdout, second.Stderr = bytes.NewReader(data), os.Stdout, os.Stderr
	if err := second.Start(); err != nil {
		return fmt.Errorf("start the second process: %w", err)
	}
	reapUntil(second.Process.Pid)
	return nil
}

// playProgram is the second process: it does the job and tells how it ended.
func playProgram(ctx context.Context) error {
	var p wire.Program
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	port, err := openPort(wire.Port)
	if err != nil {
		return err
	}
	last := wire.Message{Done: true}
	if last.ExitCode, err = runProgram(ctx, p, port); err != nil {
		last.Error = err.Error()
	}
	if err := port.send(last); err != nil {
		return err
	}
	return port.drain()
}
