package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/mem"
)

// newCgroup makes a private memory cgroup, or skips the test and says what is
// missing. Its memory.stat keys are those of version 1 or 2.
func newCgroup(t *testing.T, limit mem.Bytes) (dir string, v2 bool) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make a memory cgroup")
	}
	root, limitFile := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.subtree_control"); err == nil {
		v2, root, limitFile = true, "/sys/fs/cgroup", "memory.max"
	}
	dir = filepath.Join(root, fmt.Sprintf("oomlab-test-%d-%s", os.Getpid(), strings.ToLower(filepath.Base(t.Name()))))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("cannot make a memory cgroup: %v", err)
	}
	t.Cleanup(func() {
		for range 100 { // until the last process is gone
			if err := os.Remove(dir); !errors.Is(err, syscall.EBUSY) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%s could not be removed", dir)
	})
	if err := os.WriteFile(filepath.Join(dir, limitFile), []byte(strconv.FormatInt(int64(limit), 10)), 0o644); err != nil {
		t.Skipf("no memory controller in a new cgroup: %v", err)
	}
	return dir, v2
}

func memoryStat(t *testing.T, cgroup string) map[string]mem.Bytes {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cgroup, "memory.stat"))
	if err != nil {
		t.Fatal(err)
	}
	stat := map[string]mem.Bytes{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			t.Fatalf("memory.stat: %q: %v", line, err)
		}
		stat[key] = mem.Bytes(n)
	}
	return stat
}

// TestKindsAreChargedAsTheKernelNamesThem holds 64 MiB of each kind and asserts
// which counters of memory.stat have grown by that, which have not, and that
// release gives it back.
func TestKindsAreChargedAsTheKernelNamesThem(t *testing.T) {
	const size = 64 * mem.MiB
	// Counters of cgroup v1, then of v2. Anonymous memory includes huge pages
	// in both, and page cache includes shmem.
	for _, tt := range []struct {
		kind     string
		v1, v2   string // must have grown
		not1     string // must not
		not2     string
		resident bool // also in the process's VmRSS
	}{
		{"anon", "rss", "anon", "rss_huge cache", "anon_thp file", true},
		{"thp", "rss rss_huge", "anon anon_thp", "cache", "file", true},
		{"mlock", "rss unevictable", "anon unevictable", "cache", "file", true},
		{"cold", "rss", "anon", "cache", "file", true},
		{"lazyfree", "rss inactive_file", "anon inactive_file", "inactive_anon", "inactive_anon", true},
		{"shm", "cache shmem mapped_file", "file shmem file_mapped", "rss", "anon", true},
		{"tmpfs", "cache shmem", "file shmem", "rss mapped_file", "anon file_mapped", false},
		{"memfd", "cache shmem", "file shmem", "rss mapped_file", "anon file_mapped", false},
		{"file", "cache", "file", "rss shmem mapped_file dirty", "anon shmem file_mapped file_dirty", false},
		{"dirty", "cache dirty", "file file_dirty", "rss shmem mapped_file", "anon shmem file_mapped", false},
		{"mapped", "cache mapped_file", "file file_mapped", "rss shmem dirty", "anon shmem file_dirty", true},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			cgroup, v2 := newCgroup(t, 256*mem.MiB)
			grown, not := tt.v1, tt.not1
			if v2 {
				grown, not = tt.v2, tt.not2
			}
			dir, tmpfs := dirs(t)
			s := start(t, cgroup, "-plan", tt.kind+" fill 64Mi, hold", "-start", "signal", "-dir", dir, "-tmpfs", tmpfs)
			s.await("ready")
			before, rssBefore, usedBefore := memoryStat(t, cgroup), s.status("VmRSS"), s.referenced()
			s.signal(syscall.SIGUSR1)
			s.await("holding")
			after, rssAfter, used := memoryStat(t, cgroup), s.status("VmRSS"), s.referenced()-usedBefore

			// Per-CPU batches make the counters of v1 lag by up to 64 pages each.
			const slack, hugePage = 2 * mem.MiB, 2 * mem.MiB
			for _, key := range strings.Fields(grown) {
				if _, known := after[key]; !known {
					t.Errorf("memory.stat has no %s", key)
				}
				if d := after[key] - before[key]; d < size-slack || d > size+slack {
					t.Errorf("%s grew by %v, want %v", key, d.Human(), size)
				}
			}
			for _, key := range strings.Fields(not) {
				if d := after[key] - before[key]; d > slack {
					t.Errorf("%s grew by %v, want nothing", key, d.Human())
				}
			}
			want := mem.Bytes(0)
			if tt.resident {
				want = size
			}
			if d := rssAfter - rssBefore; d < want-slack || d > want+slack {
				t.Errorf("VmRSS grew by %v, want %v", d.Human(), want)
			}
			// The lists do not tell: fresh memory is inactive, too, and to a kernel
			// with generations (lru_gen) cold memory may still be active. What makes it
			// cold is that the kernel forgot its use.
			switch {
			case tt.kind == "anon" && used < size-slack:
				t.Errorf("%v count as used, want %v", used.Human(), size)
			case tt.kind == "cold" && used > slack:
				t.Errorf("%v count as used, want nothing", used.Human())
			}

			fmt.Fprintln(s.stdin, tt.kind+" release")
			s.await("reached")
			released := memoryStat(t, cgroup)
			for _, key := range strings.Fields(grown) {
				// A kernel may have given the program itself a huge page by now.
				if d := released[key] - before[key]; d > slack+hugePage {
					t.Errorf("%s is still %v higher after release", key, d.Human())
				}
			}
			s.signal(syscall.SIGTERM)
			if code := s.exitCode(); code != exitTerminated {
				t.Errorf("exit code %d: %s", code, s.stderr.String())
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "oomlab-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// dirs returns a directory on a disk and one on a tmpfs.
func dirs(t *testing.T) (disk, tmpfs string) {
	t.Helper()
	disk = t.TempDir()
	for _, candidate := range []string{disk, "/var/tmp", "."} {
		if !isTmpfs(candidate) {
			disk = candidate
			break
		}
	}
	if !isTmpfs("/dev/shm") {
		t.Skip("needs a tmpfs on /dev/shm")
	}
	return disk, "/dev/shm"
}

func isTmpfs(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && int64(fs.Type) == unix.TMPFS_MAGIC
}

// TestHugeTLBSaysWhatIsMissing: hosts that reserve no huge pages are not asked
// to; the error says who has to.
func TestHugeTLBSaysWhatIsMissing(t *testing.T) {
	data, err := os.ReadFile("/proc/sys/vm/nr_hugepages")
	if err != nil || strings.TrimSpace(string(data)) != "0" {
		t.Skipf("vm.nr_hugepages is %q, %v: the test needs a host without", data, err)
	}
	s := start(t, "", "-plan", "hugetlb fill 4Mi, hold")
	if e := s.await("error"); !strings.Contains(e.Message, "vm.nr_hugepages") {
		t.Errorf("error %q", e.Message)
	}
	if code := s.exitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// TestHugeTLB holds huge pages that somebody has reserved.
func TestHugeTLB(t *testing.T) {
	free := func() (pages int) {
		data, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); f[0] == "HugePages_Free:" {
				if pages, err = strconv.Atoi(f[1]); err != nil {
					t.Fatal(err)
				}
			}
		}
		return pages
	}
	before := free()
	if before < 8 {
		t.Skipf("%d huge pages are free: the test needs 8, which it does not reserve on anybody's machine", before)
	}
	s := start(t, "", "-plan", "hugetlb fill 16Mi, hold")
	if e := s.await("holding"); mem.Bytes(e.HeldBytes) != 16*mem.MiB || before-free() != 8 {
		t.Errorf("holds %v in %d huge pages, want 16Mi in 8", mem.Bytes(e.HeldBytes), before-free())
	}
	if huge := s.status("HugetlbPages"); huge != 16*mem.MiB {
		t.Errorf("HugetlbPages %v, want 16Mi", huge)
	}
	fmt.Fprintln(s.stdin, "hugetlb release 6Mi")
	if e := s.await("reached"); mem.Bytes(e.HeldBytes) != 10*mem.MiB || before-free() != 5 {
		t.Errorf("holds %v in %d huge pages, want 10Mi in 5", mem.Bytes(e.HeldBytes), before-free())
	}
}

// TestDeathByOwnLimit: a plan beyond the limit is killed there, and leaves
// everybody's oom_score_adj alone.
func TestDeathByOwnLimit(t *testing.T) {
	cgroup, _ := newCgroup(t, 64*mem.MiB)
	s := start(t, cgroup, "-plan", "threads 2, ramp 150% of limit at 200Mi/s, hold", "-start", "signal")
	s.await("ready")
	adj := fmt.Sprintf("/proc/%d/oom_score_adj", s.cmd.Process.Pid)
	mine, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(adj); err != nil || string(got) != string(mine) {
		t.Errorf("oom_score_adj %q, %v; want the inherited %q", got, err, mine)
	}
	s.signal(syscall.SIGUSR1)
	if code := s.exitCode(); code != -1 {
		t.Errorf("exit code %d, want death by a signal", code)
	}
	if status := s.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("died by %v, want SIGKILL", status.Signal())
	}
}
