// Package matrix runs scenarios in several cells, which differ in kernel,
// kubelet, containerd or cgroup version, each of them several times, and keeps
// the record of each run: DIR/CELL/SCENARIO-N.json, as compare reads them.
package matrix

import (
	"fmt"
	"path"
	"strings"
	"unicode"

	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

// The axes that a record is checked against.
const (
	Kernel     = "kernel"     // a series such as 6.12, or a file
	Kubelet    = "kubelet"    // v1.37.2
	Containerd = "containerd" // v2.4.2
	Cgroup     = "cgroup"     // v1 or v2
	NodeImage  = "image"      // a node image, as it is
)

// Axis is something that cells differ in, and its values.
type Axis struct {
	Name   string
	Values []string
}

// Cell is one value of each axis.
type Cell struct {
	// Path is the folder of the cell's records, a level for each axis:
	// kernel-6.12/cgroup-v2.
	Path   string
	values map[string]string
}

// Value returns the cell's value of an axis; "" where that is no axis.
func (c Cell) Value(axis string) string { return c.values[axis] }

// Cells returns every combination of the axes' values, those of the first axis
// changing slowest. Axes without values are left out.
func Cells(axes ...Axis) ([]Cell, error) {
	cells := []Cell{{values: map[string]string{}}}
	for _, a := range axes {
		if len(a.Values) == 0 {
			continue
		}
		var next []Cell
		for _, c := range cells {
			for _, value := range a.Values {
				next = append(next, c.with(a.Name, value))
			}
		}
		cells = next
	}
	seen := map[string]bool{}
	for _, c := range cells {
		if seen[c.Path] {
			return nil, fmt.Errorf("two cells would share the folder %s: give each value once", c.Path)
		}
		seen[c.Path] = true
	}
	return cells, nil
}

func (c Cell) with(axis, value string) Cell {
	values := map[string]string{axis: value}
	for name, old := range c.values {
		values[name] = old
	}
	return Cell{Path: path.Join(c.Path, axis+"-"+folder(value)), values: values}
}

// folder makes a value the name of a folder: images and files have slashes.
func folder(value string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune("/:@ ", r) {
			return '-'
		}
		return r
	}, value), "-")
}

// check reports what the record of a run in this cell was not made with: a
// matrix that mixes things up is worse than none.
func (c Cell) check(r *record.Record) error {
	if r.Verdict == record.Unsupported && len(r.Node.Versions) == 0 {
		return nil // nothing was started
	}
	kubelet := r.Node.Versions[Kubelet]
	want := c.Value(Kubelet)
	if kubelet == "" && r.Node.Kubelet != nil && want != "" {
		// Without a kubelet only the minor of its formulas is known.
		v, err := qos.ParseVersion(want)
		if err != nil {
			return err
		}
		kubelet, want = r.Node.Kubelet.Version.String(), v.String()
	}
	for _, v := range []struct{ axis, got, want string }{
		{Kubelet, kubelet, want},
		{Containerd, r.Node.Versions[Containerd], c.Value(Containerd)},
		{Cgroup, fmt.Sprint(r.Host.CgroupVersion), c.Value(Cgroup)},
	} {
		if v.want != "" && strings.TrimPrefix(v.got, "v") != strings.TrimPrefix(v.want, "v") {
			return fmt.Errorf("it ran with %s %q, not %s", v.axis, v.got, v.want)
		}
	}
	// A kernel that is no series is a file, which may hold any version.
	series := c.Value(Kernel)
	rest, of := strings.CutPrefix(r.Host.Kernel, series)
	if isSeries(series) && (!of || strings.IndexFunc(rest, unicode.IsDigit) == 0) {
		return fmt.Errorf("it ran on kernel %s, not %s", r.Host.Kernel, series)
	}
	return nil
}

func isSeries(kernel string) bool {
	return kernel != "" && strings.Trim(kernel, "0123456789.") == ""
}
