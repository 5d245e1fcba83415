package balloon

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

func TestEventsAreJSONLines(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	events, err := NewEvents(int(write.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	events.emit("reached", 5*mem.MiB, plan.Segment{Verb: plan.Fill, Kind: plan.Anon})
	events.emit("holding", 0, plan.Segment{Verb: plan.Hold, Duration: 1500 * time.Millisecond})
	events.emit("holding", 0, plan.Segment{Verb: plan.Hold, Duration: plan.Forever})
	events.emit("holding", 0, plan.Segment{Verb: plan.Await})
	events.Restarted(3)
	events.Error(errors.New("a \"bad\"\n\tplan \\ \x01 é"))
	write.Close()

	type event struct {
		Event            string
		PID              int
		MonotonicSeconds float64
		Wall             time.Time
		HeldBytes        int64
		ResidentBytes    int64
		Verb, Kind       string
		ForSeconds       *float64
		Restarts         int64
		Message          string
	}
	var got []event
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if e.PID != os.Getpid() || e.MonotonicSeconds <= 0 || time.Since(e.Wall) > time.Minute {
			t.Errorf("%s: wrong process or time", lines.Text())
		}
		got = append(got, e)
	}
	if len(got) != 6 {
		t.Fatalf("%d events, want 6", len(got))
	}
	if e := got[0]; e.Event != "reached" || e.HeldBytes != 5<<20 || e.ResidentBytes < 1<<20 || e.Verb != "fill" || e.Kind != "anon" {
		t.Errorf("reached: %+v", e)
	}
	if d := got[1].ForSeconds; d == nil || *d != 1.5 || got[0].ForSeconds != nil || got[2].ForSeconds != nil || got[3].ForSeconds != nil {
		t.Errorf("only a hold that ends says how long it lasts: %+v", got[:4])
	}
	if got[4].Restarts != 3 {
		t.Errorf("restarted: %+v", got[4])
	}
	if want := "a \"bad\"\n\tplan \\   é"; got[5].Message != want {
		t.Errorf("error: message %q, want %q", got[5].Message, want)
	}
}

func TestEventsNeverBlock(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	events, err := NewEvents(int(write.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000 // far more than a pipe holds
	for range n {
		events.Emit("reached", 0)
	}
	if events.dropped == 0 || events.dropped >= n {
		t.Fatalf("dropped %d of %d events", events.dropped, n)
	}
	lines := bufio.NewScanner(read)
	for range 100 {
		lines.Scan()
	}
	events.Emit("done", 0)
	write.Close()
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if !strings.Contains(last, `"event":"done"`) || !strings.Contains(last, `"droppedEvents":`) {
		t.Errorf("the last line does not count the dropped ones: %s", last)
	}
}

func TestEventsAllocateNothing(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	events, err := NewEvents(int(null.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { events.emit("holding", mem.GiB, plan.Segment{Verb: plan.Hold, Duration: time.Second}) }); n != 0 {
		t.Errorf("an event allocates %v times", n)
	}
}

func TestReadLines(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	events, err := NewEvents(int(null.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	commands := make(chan Command, 8)
	ReadLines(strings.NewReader("start\n\n pause \nnonsense\nresume\nfill 5Mi, hold 1s\nunfinished"), commands, events)
	close(commands)
	var got []string
	for c := range commands {
		got = append(got, c.String())
	}
	if want := []string{"start", "pause", "resume", "fill 5Mi, hold 1s"}; !slices.Equal(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
}

func TestLimitFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		cgroups string
		want    []string
	}{
		"v2": {"0::/kubepods/a\n", []string{"/sys/fs/cgroup/kubepods/a/memory.max", "/sys/fs/cgroup/memory.max"}},
		"hybrid": {"5:cpu,cpuacct:/\n4:memory:/a:b\n0::/\n", []string{
			"/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
			"/sys/fs/cgroup//memory.max", "/sys/fs/cgroup/memory.max",
		}},
		"named only": {"9:name=systemd:/\n", nil},
	} {
		if got := cgroupFiles(tt.cgroups, "memory.limit_in_bytes", "memory.max"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestCountRestarts(t *testing.T) {
	dir := t.TempDir()
	for want := range int64(3) {
		if got, err := CountRestarts(dir); err != nil || got != want {
			t.Errorf("CountRestarts = %d, %v; want %d", got, err, want)
		}
	}
	if _, err := CountRestarts(dir + "/absent"); err == nil {
		t.Error("no error without a directory")
	}
}
