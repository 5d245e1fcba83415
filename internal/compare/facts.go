package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

// Fact is something that is not the same on the two sides by intention, or by
// nature: what was upgraded, asked for, or is another machine.
type Fact struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// The names of the facts that rules look at.
const (
	factKernel  = "kernel"
	factKubelet = "kubelet"
	factCgroup  = "cgroup version"
	factCPUs    = "CPUs"
	factMemory  = "memory of the machine"
	factHuge    = "huge pages"
	factTHP     = "transparent huge pages"
	factLowest  = "lowest oom_score_adj"
	// settingPrefix begins the fact that a scenario asks its kubelet for
	// something, expectPrefix that it expects something.
	settingPrefix = "asked of the kubelet: "
	expectPrefix  = "expectation "
)

// factsOf returns what the runs of one side were made with. Runs that were made
// with different programs are no repetitions of each other.
func factsOf(runs []Run) (map[string]string, error) {
	facts := recordFacts(runs[0].Record)
	for _, r := range runs[1:] {
		for name, value := range recordFacts(r.Record) {
			switch {
			case facts[name] == value:
			case isProgram(name):
				return nil, fmt.Errorf("%s and %s are no repetitions of each other: %s %s and %s: keep them in folders of their own",
					runs[0].Path, r.Path, name, orNone(facts[name]), orNone(value))
			default:
				facts[name] += " or " + value
			}
		}
	}
	return facts, nil
}

func isProgram(fact string) bool {
	return slices.Contains([]string{"lab", factKernel, factKubelet, factCgroup, "containerd", "runc"}, fact)
}

func recordFacts(r *record.Record) map[string]string {
	h := r.Host
	facts := map[string]string{
		"lab": r.Lab, factKernel: h.Kernel, factCgroup: fmt.Sprint(h.CgroupVersion), factCPUs: fmt.Sprint(h.CPUs),
		factMemory: h.MemTotal.Human(), "swap of the machine": h.SwapTotal.Human(), factHuge: h.HugePages.Human(),
		factTHP: h.THP, "LRU_GEN": h.LRUGen, factLowest: fmt.Sprint(h.LowestAdj),
	}
	if k := r.Node.Kubelet; k != nil {
		facts[factKubelet] = k.Version.String()
	}
	maps.Copy(facts, r.Node.Versions)
	for path, value := range flatten(r.Scenario) {
		if setting, ok := strings.CutPrefix(path, "node.kubelet."); ok {
			facts[settingPrefix+setting] = value
		}
		if strings.HasPrefix(path, "expect.") || strings.HasPrefix(path, "control.") {
			facts[expectPrefix+path] = value
		}
	}
	return facts
}

// changedFacts returns what differs, programs first.
func changedFacts(was, is map[string]string) []Fact {
	all := maps.Clone(was)
	maps.Copy(all, is)
	var first, rest []Fact
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := Fact{name, orNone(was[name]), orNone(is[name])}
		switch {
		case f.Old == f.New:
		case isProgram(name):
			first = append(first, f)
		default:
			rest = append(rest, f)
		}
	}
	return append(first, rest...)
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// otherScenario reports that two scenarios of one name are two experiments:
// more than what is asked of the kubelet, what is expected, or the text differs.
func otherScenario(old, new *scenarios.Scenario) (Difference, bool) {
	was, is := flatten(old), flatten(new)
	all := maps.Clone(was)
	maps.Copy(all, is)
	var changed []string
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if was[path] == is[path] {
			continue
		}
		top, _, _ := strings.Cut(path, ".")
		if slices.Contains([]string{"workloads", "until"}, top) || top == "node" && !strings.HasPrefix(path, "node.kubelet.") {
			changed = append(changed, fmt.Sprintf("%s: %s, now %s", path, orNone(was[path]), orNone(is[path])))
		}
	}
	if len(changed) == 0 {
		return Difference{}, false
	}
	return Difference{
		Aspect: Scenario, Class: Unexplained, Old: one("the old one"), New: one("another one"),
		Why: "two experiments of one name are not compared (" + strings.Join(changed, "; ") + "): run both sides with one scenario",
	}, true
}

func one(value string) Sample { return Sample{Values: []Count{{value, 1}}} }

// flatten returns the leaves of a value's JSON by their path.
func flatten(value any) map[string]string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // a scenario was read from JSON
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		panic(err)
	}
	leaves := map[string]string{}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch n := node.(type) {
		case map[string]any:
			for name, below := range n {
				walk(strings.TrimPrefix(path+"."+name, "."), below)
			}
		case []any:
			for i, below := range n {
				walk(fmt.Sprintf("%s.%d", path, i), below)
			}
		default:
			leaves[path] = fmt.Sprint(n)
		}
	}
	walk("", tree)
	return leaves
}
