package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/mem"
)

// machine is a host with container engines on it, as Find sees it.
type machine struct {
	programs map[string]bool // what is installed
	down     []string        // engines whose daemon does not run
	refuse   func(i invocation) error
	stuck    bool // limits do not follow an update

	limit     mem.Bytes
	installed []string
	calls     []string // every command but version
}

func (m *machine) finder(t *testing.T) finder {
	return finder{
		out: t.Output(), dir: t.TempDir(), boot: "boot-1", limits: limits{nofile: 20000, nproc: 32768},
		run: m.run, observe: m.observe,
		look: func(p string) bool { return m.programs[p] },
		install: func(_ context.Context, packages ...string) error {
			for _, p := range packages {
				m.programs[p] = true
			}
			m.installed = append(m.installed, packages...)
			return nil
		},
	}
}

func (m *machine) run(_ context.Context, i invocation) (string, error) {
	name, verb := i.argv[0], i.argv[1]
	if slices.Contains(m.down, name) {
		return "", errors.New("cannot connect to the daemon")
	}
	if verb == "version" {
		return "4.3.1\n", nil
	}
	m.calls = append(m.calls, name+" "+verb)
	if verb == "run" && m.refuse != nil {
		if err := m.refuse(i); err != nil {
			return "", err
		}
	}
	switch {
	case verb == "run":
		m.limit = probeLimit
	case verb == "update" && !m.stuck:
		m.limit = probeUpdate
	case verb == "container":
		return "0123abcd 42\n", nil
	case verb == "images": // docker's way to say that an image exists
		return "sha256:1\n", nil
	}
	return "", nil
}

func (m *machine) observe(string, int) (observation, error) {
	l := mem.LimitOf(m.limit)
	return observation{capabilities: host.AllCapabilities(40), limit: l, swap: l, version: 1}, nil
}

// restricted refuses what a host without CAP_SYS_RESOURCE and with hybrid
// cgroups was seen to refuse.
func restricted(i invocation) error {
	var conf []byte
	for _, kv := range i.env {
		if path, ok := strings.CutPrefix(kv, "CONTAINERS_CONF="); ok {
			conf, _ = os.ReadFile(path)
		}
	}
	switch {
	case !strings.Contains(string(conf), `"nofile=20000:20000"`):
		return errors.New("setrlimit `RLIMIT_NOFILE`: Operation not permitted")
	case !strings.Contains(string(conf), `runtime = "runc"`):
		return errors.New("cgroups in hybrid mode not supported")
	}
	return nil
}

func TestFind(t *testing.T) {
	tests := map[string]struct {
		machine   machine
		forced    string
		want      string // the engine's name, then the end of its proof
		installed []string
	}{
		"docker comes first": {
			machine: machine{programs: map[string]bool{"docker": true, "podman": true}},
			want:    "docker with this machine's own settings",
		},
		"forced": {
			machine: machine{programs: map[string]bool{"docker": true, "podman": true}},
			forced:  "podman", want: "podman with this machine's own settings",
		},
		"a docker without its daemon": {
			machine: machine{programs: map[string]bool{"docker": true, "podman": true}, down: []string{"docker"}},
			want:    "podman with this machine's own settings",
		},
		"a docker that starts nothing": {
			machine: machine{programs: map[string]bool{"docker": true, "podman": true}, refuse: func(i invocation) error {
				if i.argv[0] == "docker" {
					return errors.New("unable to apply caps: operation not permitted")
				}
				return nil
			}},
			want: "podman with this machine's own settings",
		},
		"nothing on a restricted host": {
			machine:   machine{programs: map[string]bool{}, refuse: restricted},
			want:      "podman with this process's hard limits and runc",
			installed: append(slices.Clone(podmanPackages), "runc"),
		},
		"podman and runc on a restricted host": {
			machine: machine{programs: map[string]bool{"podman": true, "runc": true}, refuse: restricted},
			want:    "podman with this process's hard limits and runc",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := &tt.machine
			e, err := m.finder(t).find(t.Context(), tt.forced)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Name + " " + e.Proof[strings.LastIndex(e.Proof, "; ")+2:]; got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.installed, m.installed); diff != "" {
				t.Errorf("installed (-want +got):\n%s", diff)
			}
			started, removed := 0, 0
			for _, c := range m.calls {
				switch {
				case strings.HasSuffix(c, " run"):
					started++
				case strings.HasSuffix(c, " rm"):
					removed++
				}
			}
			if started == 0 || started != removed {
				t.Errorf("started %d probes and removed %d: %q", started, removed, m.calls)
			}
		})
	}
}

func TestFindRemembersUntilSomethingChanges(t *testing.T) {
	m := &machine{programs: map[string]bool{"podman": true, "runc": true}, refuse: restricted}
	f := m.finder(t)
	first, err := f.find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	probes := func(f finder) int {
		t.Helper()
		m.calls = nil
		e, err := f.find(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first.Env(), e.Env()); diff != "" {
			t.Errorf("environment changed (-first +again):\n%s", diff)
		}
		return len(m.calls)
	}
	if n := probes(f); n != 0 {
		t.Errorf("the second time made %d calls: %q", n, m.calls)
	}
	rebooted, limited := f, f
	rebooted.boot = "boot-2"
	limited.limits.nproc = 1000
	for name, changed := range map[string]finder{"reboot": rebooted, "other limits": limited} {
		if n := probes(changed); n == 0 {
			t.Errorf("%s: trusted the old proof", name)
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir, "podman.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := probes(f); n == 0 {
		t.Error("trusted a torn file")
	}
	// The settings are restored with the proof.
	if err := os.Remove(filepath.Join(f.dir, "containers.conf")); err != nil {
		t.Fatal(err)
	}
	if n := probes(f); n != 0 {
		t.Errorf("lost settings made %d calls", n)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "containers.conf")); err != nil {
		t.Error(err)
	}
}

func TestFindSaysWhyNoneIsUsable(t *testing.T) {
	noRoom := func(invocation) error { return errors.New("no space left on device") }
	tests := map[string]struct {
		machine machine
		forced  string
		isNone  bool
		want    []string
	}{
		"every start fails": {
			machine{programs: map[string]bool{"podman": true, "runc": true}, refuse: noRoom}, "", true,
			[]string{"docker: not installed", "podman: with this machine's own settings: no space left", "hard limits and runc: no space"},
		},
		"updates have no effect": {
			machine{programs: map[string]bool{"docker": true}, stuck: true}, "docker", true,
			[]string{"its memory limit is 64Mi in the kernel, not 96Mi"},
		},
		"nerdctl": {machine{}, "nerdctl", false, []string{"untested"}},
		"a typo":  {machine{}, "dockr", false, []string{"OOMLAB_ENGINE=dockr: want docker or podman"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tt.machine.finder(t).find(t.Context(), tt.forced)
			if errors.Is(err, ErrNone) != tt.isNone || err == nil {
				t.Fatalf("error %v, want ErrNone: %v", err, tt.isNone)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

func TestObservationCheck(t *testing.T) {
	all, none := host.AllCapabilities(40), host.Capabilities{}
	limit, zero := mem.LimitOf(64*mem.MiB), mem.LimitOf(0)
	tests := map[string]struct {
		o    observation
		want string
	}{
		"v1":                  {observation{all, limit, limit, 1}, ""},
		"v2":                  {observation{all, limit, zero, 2}, ""},
		"no swap accounting":  {observation{all, limit, mem.Limit{}, 1}, ""},
		"v1 with swap beside": {observation{all, limit, mem.LimitOf(128 * mem.MiB), 1}, "swap limit is 128Mi in the kernel, not 64Mi"},
		"v2 with swap beside": {observation{all, limit, mem.Max, 2}, "swap limit is max in the kernel, not 0"},
		"no limit":            {observation{all, mem.Max, limit, 1}, "memory limit is max in the kernel, not 64Mi"},
		"not privileged":      {observation{none, limit, limit, 1}, "not privileged"},
	}
	for name, tt := range tests {
		err := tt.o.check(64 * mem.MiB)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}
