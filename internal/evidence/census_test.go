package evidence

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

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
