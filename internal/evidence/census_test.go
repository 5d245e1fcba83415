package evidence

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// However long a round takes, the census leaves nine tenths of a processor to
// others, and it is no more frequent than it has to be.
func TestPause(t *testing.T) {
	for round, want := range map[time.Duration]time.Duration{
		time.Millisecond:       19 * time.Millisecond,
		2 * time.Millisecond:   18 * time.Millisecond,
		10 * time.Millisecond:  90 * time.Millisecond,
		100 * time.Millisecond: 900 * time.Millisecond,
	} {
		if got := pause(round); got != want {
			t.Errorf("after a round of %s: %s, want %s", round, got, want)
		}
	}
}

// A cgroup without any below it is known by its links, and one that gets some
// is walked.
func TestWalk(t *testing.T) {
	h := Hierarchy{Version: 2, Mount: t.TempDir()}
	if got, err := h.Walk("/"); err != nil || !slices.Equal(got, []string{"/"}) {
		t.Errorf("a leaf: %v, %v", got, err)
	}
	for _, path := range []string{"/b", "/a", "/b/c"} {
		if err := os.Mkdir(h.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.Walk("/")
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{"/", "/a", "/b", "/b/c"}) {
		t.Errorf("a tree: %v, %v", got, err)
	}
	if _, err := h.Walk("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want that there is none", err)
	}
}

// Whoever was in a container's cgroup for a moment, as the thread is that starts
// its first process in cgroup v1, does not make that one a second.
func TestFirstProcessAfterAVisitor(t *testing.T) {
	h := Hierarchy{Version: 1, Mount: t.TempDir()}
	const container = "/node/container"
	for _, path := range []string{"/node", container} {
		if err := os.Mkdir(h.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"memory.oom_control": "oom_kill 0\n", "cgroup.procs": ""} {
			if err := os.WriteFile(filepath.Join(h.Dir(path), file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := &Census{hierarchy: h, root: "/node", members: map[int]Member{}, kills: map[string]counter{}}
	visitor, first := os.Getppid(), os.Getpid()
	for _, pid := range []int{visitor, first} {
		if err := os.WriteFile(filepath.Join(h.Dir(container), "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.round(false); err != nil {
			t.Fatal(err)
		}
		if m, met := c.Find(pid); !met || !m.Alive || !m.Main || m.Cgroup != container {
			t.Errorf("process %d: %+v", pid, m)
		}
	}
	if m, _ := c.Find(visitor); m.Alive {
		t.Errorf("the visitor is still there: %+v", m)
	}
}

// The kernel may name a thread, which is no process of its own.
func TestThreadIsNoProcess(t *testing.T) {
	h, err := FindHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	tids, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(tids) < 2 {
		t.Fatalf("threads of this program: %v, %v", tids, err)
	}
	for _, path := range tids {
		tid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		c := &Census{hierarchy: h, root: "/", members: map[int]Member{}}
		if m, met := c.Find(tid); !met || m.PID != os.Getpid() {
			t.Errorf("thread %d of process %d: %+v", tid, os.Getpid(), m)
		}
		if _, known := c.Processes()[tid]; known && tid != os.Getpid() {
			t.Errorf("thread %d passes for a process", tid)
		}
	}
}
