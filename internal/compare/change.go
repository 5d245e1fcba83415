package compare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Change is something known that makes two runs differ: a release of a program,
// a setting, a fact of the machine, or a race that goes one way or the other.
type Change struct {
	ID string `json:"id"`
	// What says in a sentence what is different and since when.
	What string `json:"what"`
	// Reference is where that can be looked up: a commit, a pull request, a KEP.
	Reference string `json:"reference"`

	// Component and Release are the program that behaves so from a release on,
	// Backports the releases of older series that do as well.
	Component string   `json:"component,omitempty"` // kernel, kubelet, containerd
	Release   string   `json:"release,omitempty"`
	Backports []string `json:"backports,omitempty"`
	// Setting is a field of KubeletConfiguration, Fact a fact of the machine.
	Setting string `json:"setting,omitempty"`
	Fact    string `json:"fact,omitempty"`

	// explains are the aspects that it may make differ. A change that says
	// nothing of an aspect never explains it away.
	explains []Aspect
	// fits looks at a difference: a release lies between most upgrades, and
	// explains only what has its mark. Nil: everything.
	fits func(p *pair, d *Difference) bool
}

// race reports that no release and no setting is needed.
func (c *Change) race() bool { return c.Component == "" && c.Setting == "" && c.Fact == "" }

// between reports that the change lies between the two sides of p, and in which
// words.
func (c *Change) between(p *pair) (string, bool) {
	switch {
	case c.race():
		return "", true
	case c.Component != "":
		was, is := p.was[c.Component], p.is[c.Component]
		before, err1 := c.In(was)
		after, err2 := c.In(is)
		if err1 != nil || err2 != nil || before == after {
			return "", false
		}
		if before {
			return fmt.Sprintf("%s %s has it, %s does not", c.Component, was, is), true
		}
		return fmt.Sprintf("%s %s has it, %s did not", c.Component, is, was), true
	}
	for _, f := range p.changed {
		name := strings.TrimPrefix(f.Name, settingPrefix)
		asked := name != f.Name
		if c.Setting != "" && asked && withinSetting(name, c.Setting) || c.Fact != "" && (f.Name == c.Fact || c.Fact == expectPrefix && strings.HasPrefix(f.Name, expectPrefix)) {
			return fmt.Sprintf("%s: %s, now %s", name, f.Old, f.New), true
		}
	}
	if c.Setting != "" {
		for _, d := range p.differences {
			if d.Aspect == Setting && withinSetting(d.Subject, c.Setting) && d.Class != Noise {
				return fmt.Sprintf("%s: %s, now %s", d.Subject, d.Old.Text(), d.New.Text()), true
			}
		}
	}
	return "", false
}

func withinSetting(path, setting string) bool {
	return path == setting || strings.HasPrefix(path, setting+".")
}

// In reports whether a version of the component has the change.
func (c *Change) In(version string) (bool, error) {
	v, err := parseRelease(version)
	if err != nil {
		return false, err
	}
	for _, backport := range c.Backports {
		b, err := parseRelease(backport)
		if err != nil {
			return false, err
		}
		if v[0] == b[0] && v[1] == b[1] && v[2] >= b[2] {
			return true, nil
		}
	}
	since, err := parseRelease(c.Release)
	if err != nil {
		return false, err
	}
	return slices.Compare(v[:], since[:]) >= 0, nil
}

// parseRelease reads the leading numbers of a version: v1.37.2, 1.37, 2.4.2,
// 6.18.44-generic.
func parseRelease(version string) (n [3]int, err error) {
	rest := strings.TrimPrefix(version, "v")
	numbers := strings.TrimSuffix(rest, strings.TrimLeft(rest, "0123456789."))
	parts := strings.Split(strings.TrimSuffix(numbers, "."), ".")
	if len(parts) < 2 {
		return n, fmt.Errorf("%q is no version: want one like 1.37.2", version)
	}
	for i := range min(len(parts), len(n)) {
		if n[i], err = strconv.Atoi(parts[i]); err != nil {
			return n, fmt.Errorf("%q is no version: %w", version, err)
		}
	}
	return n, nil
}

// Text writes a sample for a sentence.
func (s Sample) Text() string {
	if s.Number != nil {
		return s.Number.Text
	}
	var parts []string
	for _, v := range s.Values {
		text := v.Value
		if len(s.Values) > 1 {
			text = fmt.Sprintf("%s (%d×)", v.Value, v.Runs)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " or ")
}

// runs is the number of runs that the sample rests on.
func (s Sample) runs() int {
	if s.Number != nil {
		return s.Number.Runs
	}
	n := 0
	for _, v := range s.Values {
		n += v.Runs
	}
	return n
}
