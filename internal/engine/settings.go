package engine

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// settings are one way of running an engine.
type settings struct {
	Name       string `json:"name"`       // for people, after "started …"
	Containers string `json:"containers"` // containers.conf, "" for the machine's own
	Runtime    string `json:"runtime"`    // the program and package it needs, if any
}

// settingsFor returns the ways to try, the least intrusive first. Each of the
// later ones answers a failure that was seen:
//
//   - podman asks for more open files than the hard limit, and without
//     CAP_SYS_RESOURCE nobody may raise that: "crun: setrlimit
//     `RLIMIT_NOFILE`: Operation not permitted".
//   - crun refuses a machine with cgroup v1 controllers beside a mounted
//     cgroup2: "cgroups in hybrid mode not supported". runc does not.
func settingsFor(engine string, l limits) []settings {
	own := settings{Name: "with this machine's own settings"}
	if engine != "podman" {
		return []settings{own}
	}
	ulimits := fmt.Sprintf("[containers]\ndefault_ulimits = [\"nofile=%d:%d\", \"nproc=%d:%d\"]\n", l.nofile, l.nofile, l.nproc, l.nproc)
	return []settings{
		own,
		{Name: "with this process's hard limits", Containers: ulimits},
		{
			Name: "with this process's hard limits and runc", Runtime: "runc",
			Containers: ulimits + "\n[engine]\nruntime = \"runc\"\n",
		},
	}
}

// limits are the hard limits that containers can be given here.
type limits struct{ nofile, nproc uint64 }

func (l limits) String() string { return fmt.Sprintf("nofile=%d nproc=%d", l.nofile, l.nproc) }

// Upper bounds of limits: what the kernel allows by default (fs.nr_open), and
// the default of pid_max, to which podman lowers nproc for itself.
const (
	maxNofile = 1 << 20
	maxNproc  = 1 << 15
)

func hardLimits() (limits, error) {
	var nofile, nproc unix.Rlimit
	err := errors.Join(unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile), unix.Getrlimit(unix.RLIMIT_NPROC, &nproc))
	return limits{nofile: min(nofile.Max, maxNofile), nproc: min(nproc.Max, maxNproc)}, err
}

// apply writes the settings and returns the environment that selects them.
func (f finder) apply(s settings) ([]string, error) {
	if s.Containers == "" {
		return nil, nil
	}
	path := filepath.Join(f.dir, "containers.conf")
	text := "# Written by oomlab: settings " + s.Name + ".\n" + s.Containers
	if err := writeFile(path, []byte(text)); err != nil {
		return nil, fmt.Errorf("write engine settings: %w", err)
	}
	return []string{"CONTAINERS_CONF=" + path}, nil
}
