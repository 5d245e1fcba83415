package oom

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// The kernel of this machine is the judge: /proc/PID/oom_score of every process
// lies within 1 of the model, computed from the memory that /proc/PID/status
// shows just before and just after.
func TestLiveOOMScore(t *testing.T) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no Linux here: /proc/sys/kernel/osrelease does not exist")
	}
	if err != nil {
		t.Fatal(err)
	}
	k := Kernel{PageSize: mem.Bytes(os.Getpagesize())}
	if k.Version, err = ParseVersion(string(release)); err != nil {
		t.Fatal(err)
	}
	machine := readFields(t, "/proc/meminfo")
	k.RAM, k.Swap = machine.pages("MemTotal"), machine.pages("SwapTotal")

	// Most processes of a quiet machine have no oom_score_adj. Raising it needs
	// no privilege.
	for _, adj := range []string{"1", "333", "999", "1000"} {
		child := exec.Command("sleep", "60")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = child.Process.Kill(), child.Wait() })
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", child.Process.Pid), []byte(adj), 0); err != nil {
			t.Fatal(err)
		}
	}

	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	kthreadd, err := os.ReadFile("/proc/2/comm")
	hostPIDs := err == nil && string(kthreadd) == "kthreadd\n"
	compared, withMemory := 0, 0
	for _, dir := range dirs {
		before, err := readTask(dir, hostPIDs)
		score, scoreErr := readInt(dir + "/oom_score")
		after, afterErr := readTask(dir, hostPIDs)
		if err := errors.Join(err, scoreErr, afterErr); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has exited meanwhile
		} else if err != nil {
			t.Fatal(err)
		}
		low, high := k.OOMScore(before), k.OOMScore(after)
		low, high = min(low, high)-1, max(low, high)+1
		if score < low || score > high {
			t.Errorf("%s (%s): oom_score is %d, the model says %d to %d: %+v", dir, before.Name, score, low, high, before)
		}
		compared++
		if !before.NoMM {
			withMemory++
		}
	}
	if withMemory == 0 {
		t.Error("no process with memory was compared")
	}
	t.Logf("Linux %s: %d processes compared, %d of them with memory", k.Version, compared, withMemory)
}

// readTask reads what OOMScore needs of the process in dir.
func readTask(dir string, hostPIDs bool) (Task, error) {
	f, err := parseFields(dir + "/status")
	if err != nil {
		return Task{}, err
	}
	_, hasMemory := f["VmRSS"]
	if ppid := f["PPid"]; !hasMemory && ppid != "0" && ppid != "2" {
		// Not a kernel thread, so it is exiting. Its leader gives up the memory
		// before other threads do, and then status no longer tells what is left.
		return Task{}, fs.ErrNotExist
	}
	adj, err := readInt(dir + "/oom_score_adj")
	return Task{
		Name: f["Name"], NoMM: !hasMemory, GlobalInit: hostPIDs && dir == "/proc/1", OOMScoreAdj: adj,
		Anon: f.pages("RssAnon"), File: f.pages("RssFile"), Shmem: f.pages("RssShmem"),
		Swap: f.pages("VmSwap"), PageTables: f.bytes("VmPTE"),
	}, err
}

// fields are the "Key: value" lines of a file in /proc.
type fields map[string]string

func readFields(t *testing.T, path string) fields {
	t.Helper()
	f, err := parseFields(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func parseFields(path string) (fields, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := make(fields)
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			f[key] = strings.TrimSpace(value)
		}
	}
	return f, nil
}

// bytes returns a value that is printed in kB, or 0 where the key is missing.
func (f fields) bytes(key string) mem.Bytes {
	n, err := strconv.ParseInt(strings.TrimSuffix(f[key], " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return mem.Bytes(n) * mem.KiB
}

func (f fields) pages(key string) mem.Pages { return f.bytes(key).Pages(mem.Bytes(os.Getpagesize())) }

func readInt(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}
