package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/evidence"
)

// Names of requirements, as scenarios, records and doctor refer to them.
const (
	Root         = "root"
	LowerAdj     = "lower-oom-score-adj"
	CgroupMemory = "cgroup-memory"
	CgroupV2     = "cgroup-v2"
	KernelLog    = "kernel-log"
	TraceEvents  = "oom-trace-events"
	Inotify      = "inotify-instances"
	Swap         = "swap"
	NoHugePages  = "no-reserved-huge-pages"
)

// Requirement is one thing that some scenario or lab needs of the machine.
type Requirement struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Proof  string `json:"proof"`            // what was done and seen
	Remedy string `json:"remedy,omitempty"` // how to get it, where it is not OK
}

// Report is a machine as probed.
type Report struct {
	Facts        Facts         `json:"facts"`
	Requirements []Requirement `json:"requirements"`
}

// Requirement returns the named requirement.
func (r Report) Requirement(name string) (Requirement, bool) {
	for _, q := range r.Requirements {
		if q.Name == name {
			return q, true
		}
	}
	return Requirement{}, false
}

// Probe reads the facts and probes every requirement.
func Probe(ctx context.Context) (Report, error) {
	facts, err := Read()
	if err != nil {
		return Report{}, err
	}
	requirements := facts.requirements(os.Geteuid())
	for _, p := range []struct {
		name, remedy string
		probe        func() (string, error)
	}{
		{KernelLog, "run as root, or give CAP_SYSLOG: kills are proved from /dev/kmsg", probeKmsg},
		{TraceEvents, "run as root on a kernel with CONFIG_TRACING; without it there are no trace events as a second source", probeTrace},
		{Inotify, "raise it with sysctl fs.inotify.max_user_instances=512: systemd, containerd and kubelet of every kind node take some", probeInotify},
	} {
		if err := ctx.Err(); err != nil {
			return Report{}, err
		}
		proof, err := p.probe()
		if err != nil {
			requirements = append(requirements, Requirement{Name: p.name, Proof: err.Error(), Remedy: p.remedy})
		} else {
			requirements = append(requirements, Requirement{Name: p.name, OK: true, Proof: proof})
		}
	}
	return Report{facts, requirements}, nil
}

// lowerAdjProof says why oom_score_adj can be lowered no further.
func (f Facts) lowerAdjProof() string {
	resource := "CAP_SYS_RESOURCE is in the bounding set"
	if !f.BoundingSet.Has("CAP_SYS_RESOURCE") {
		resource = "CAP_SYS_RESOURCE is not in the bounding set"
	}
	return resource + "; " + f.LowestAdjProof
}

// requirements judges the facts.
func (f Facts) requirements(uid int) []Requirement {
	hierarchy := fmt.Sprintf("the memory controller is mounted at %s, cgroup v%d", f.CgroupMount, f.CgroupVersion)
	if f.Hybrid {
		hierarchy += "; cgroup2 is mounted without it"
	}
	all := []Requirement{
		{Root, uid == 0, fmt.Sprintf("the user is %d", uid), "run as root: memory cgroups and the kernel's log are root's"},
		// The lowest value that Kubernetes gives is the kubelet's own, -999.
		{
			LowerAdj, f.LowestAdj <= -999, f.lowerAdjProof(),
			"run where CAP_SYS_RESOURCE is left, or use the vm lab; here Guaranteed pods can't have -997",
		},
		{CgroupMemory, true, hierarchy, ""},
		{
			CgroupV2, f.CgroupVersion == 2, hierarchy,
			"boot with systemd.unified_cgroup_hierarchy=1, or use the vm lab; v1 has no memory.oom.group",
		},
		{Swap, f.SwapTotal > 0, "SwapTotal is " + f.SwapTotal.String(), "add swap with swapon; only scenarios about swap need it"},
		{
			NoHugePages, f.HugePages == 0, "Hugetlb of /proc/meminfo is " + f.HugePages.String(),
			"set vm.nr_hugepages=0: the kubelet takes them off what pods can have, on every kind node",
		},
	}
	for i := range all {
		if all[i].OK {
			all[i].Remedy = ""
		}
	}
	return all
}

func probeKmsg() (proof string, err error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open /dev/kmsg: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 8192) // longer than any record
	n, err := unix.Read(fd, buf)
	// EPIPE says that the oldest record was overwritten meanwhile, EAGAIN that
	// there is none: reading is allowed all the same.
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.EAGAIN) {
		return "", fmt.Errorf("read /dev/kmsg: %w", err)
	}
	return fmt.Sprintf("read a record of %d bytes from /dev/kmsg", max(n, 0)), nil
}

// inotifyInstances is what a kind cluster of three nodes takes, and half as many
// again.
const inotifyInstances = 64

// probeInotify opens as many instances as a cluster needs, beside those that the
// user has already.
func probeInotify() (proof string, err error) {
	limit, err := readSetting("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return "", err
	}
	for i := range inotifyInstances {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return "", fmt.Errorf("%d inotify instances could be opened, not %d: %w (fs.inotify.max_user_instances is %s)", i, inotifyInstances, err, limit)
		}
		defer func() { _ = unix.Close(fd) }()
	}
	return fmt.Sprintf("%d inotify instances could be opened beside those in use; fs.inotify.max_user_instances is %s", inotifyInstances, limit), nil
}

// probeTrace mounts tracefs where nobody else sees it, as the machine's own may
// be absent, and looks for the events.
func probeTrace() (string, error) {
	err := evidence.WithTracefs(func(dir string) error {
		if _, err := os.Stat(filepath.Join(dir, "events/oom/mark_victim/enable")); err != nil {
			return fmt.Errorf("find trace event: %w", err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return "found oom:mark_victim in a tracefs mounted in a private mount namespace", nil
}
