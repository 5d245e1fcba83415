package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// TestDocumentation holds docs/stressor.md against the program: each plan in
// its table is one, each verb and kind is there, and its Pod can be created and
// its plan carried out.
func TestDocumentation(t *testing.T) {
	data, err := os.ReadFile("../docs/stressor.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	var verbs []plan.Verb
	var kinds []plan.Kind
	code := regexp.MustCompile("`([^`]+)`")
	for row := range strings.Lines(text) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 && len(cells) != 6 {
			continue
		}
		for _, c := range code.FindAllStringSubmatch(cells[1], -1) {
			switch p, err := plan.Parse(c[1]); {
			case len(cells) == 6:
				kinds = append(kinds, plan.Kind(c[1]))
			case err != nil:
				t.Errorf("%v", err)
			default:
				verbs = append(verbs, p.Steps[0].Verb)
			}
		}
	}
	if !slices.Equal(kinds, plan.Kinds) {
		t.Errorf("kinds %v, want %v", kinds, plan.Kinds)
	}
	for _, v := range []plan.Verb{
		plan.Fill, plan.Ramp, plan.Stairs, plan.Leak, plan.Spike, plan.Saw, plan.Hold, plan.Await, plan.Touch, plan.Release, plan.Repeat,
	} {
		if !slices.Contains(verbs, v) {
			t.Errorf("no row shows %s", v)
		}
	}

	_, block, _ := strings.Cut(text, "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(block), &pod); err != nil || len(pod.Spec.Containers) != 1 {
		t.Fatalf("the Pod: %v\n%s", err, block)
	}
	c := pod.Spec.Containers[0]
	written, found := strings.CutPrefix(c.Args[0], "-plan=")
	p, err := plan.Parse(written)
	if err != nil || !found {
		t.Fatalf("the Pod's plan: %v", err)
	}
	limit, request := mem.Bytes(c.Resources.Limits.Memory().Value()), mem.Bytes(c.Resources.Requests.Memory().Value())
	if _, err := p.Curve(plan.Container{Limit: mem.LimitOf(limit), Request: mem.LimitOf(request)}); err != nil {
		t.Errorf("the Pod's plan: %v", err)
	}
}
