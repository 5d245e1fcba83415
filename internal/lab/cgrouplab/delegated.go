package cgrouplab

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/oomlab/oomlab/internal/evidence"
)

// howToDelegate is what an ordinary user may do to be given a cgroup.
const howToDelegate = "run as root, or where there is cgroup v2 in a cgroup that is delegated to you: systemd-run --user --scope -p Delegate=yes oomlab run …"

// delegated is the cgroup that an ordinary user was given, and below which nodes
// may be made (Documentation/admin-guide/cgroup-v2.rst, Delegation). With its
// controllers passed on, no process may be in it: this one moves to a leaf.
type delegated struct {
	hierarchy evidence.Hierarchy
	cgroup    string
	leaf      string
}

// takeDelegated makes room for nodes in this process's own cgroup.
func takeDelegated(h evidence.Hierarchy) (*delegated, error) {
	if h.Version != 2 {
		return nil, errors.New("cgroup v1 has no delegation: run as root")
	}
	cgroup, err := h.Of(os.Getpid())
	if err != nil {
		return nil, err
	}
	d := &delegated{hierarchy: h, cgroup: cgroup, leaf: path.Join(cgroup, fmt.Sprintf("%s%d-self", Prefix, os.Getpid()))}
	controllers, err := os.ReadFile(filepath.Join(h.Dir(cgroup), "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("read the controllers of cgroup %s: %w", cgroup, err)
	}
	if !slices.Contains(strings.Fields(string(controllers)), "memory") {
		return nil, fmt.Errorf("cgroup %s has no memory controller: %s", cgroup, howToDelegate)
	}
	if err := os.Mkdir(h.Dir(d.leaf), 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup %s: %w: %s", d.leaf, err, howToDelegate)
	}
	if err := errors.Join(d.move(d.leaf), d.pass("+memory")); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: oomlab must be alone in cgroup %s", err, cgroup), d.giveBack())
	}
	return d, nil
}

// giveBack leaves the cgroup as it was.
func (d *delegated) giveBack() error {
	return errors.Join(d.pass("-memory"), d.move(d.cgroup), os.Remove(d.hierarchy.Dir(d.leaf)))
}

func (d *delegated) move(to string) error {
	if err := os.WriteFile(filepath.Join(d.hierarchy.Dir(to), "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return fmt.Errorf("move to cgroup %s: %w", to, err)
	}
	return nil
}

func (d *delegated) pass(controllers string) error {
	if err := os.WriteFile(filepath.Join(d.hierarchy.Dir(d.cgroup), "cgroup.subtree_control"), []byte(controllers), 0); err != nil {
		return fmt.Errorf("pass %s on to the cgroups below %s: %w", controllers, d.cgroup, err)
	}
	return nil
}
