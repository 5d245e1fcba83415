package scenarios

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsjson "sigs.k8s.io/json"
)

//go:embed catalog/*.yaml
var catalog embed.FS

// Names returns the scenarios of the catalog, sorted.
func Names() []string {
	files, err := catalog.ReadDir("catalog")
	if err != nil {
		panic("scenarios: the embedded catalog is unreadable: " + err.Error())
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// ErrNotFound is wrapped by Named for a name that the catalog doesn't have.
var ErrNotFound = errors.New("no such scenario")

// Named returns a scenario of the catalog.
func Named(name string) (*Scenario, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("%w: the catalog has no %q, but %s", ErrNotFound, name, strings.Join(Names(), ", "))
	}
	data, err := catalog.ReadFile(path.Join("catalog", name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("read scenario %s: %w", name, err)
	}
	return Parse(name+".yaml", bytes.NewReader(data))
}

// Parse reads exactly one scenario from r, strictly: unknown or misspelt keys,
// duplicate keys, further documents and empty files are errors. It returns all
// errors joined, each as "file:line: field: what is wrong".
func Parse(file string, r io.Reader) (*Scenario, error) {
	var root yaml.Node
	decoder := yaml.NewDecoder(r)
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file is empty: start with apiVersion: %s and kind: %s", file, APIVersion, Kind)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one YAML document: keep one scenario a file", file)
	}
	place := places{file: file, lines: map[string]int{"": root.Line}}
	if len(root.Content) == 1 {
		place.note("", root.Content[0])
	}

	var value any
	if err := root.Decode(&value); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err) // a duplicate key, with both lines
	}
	joinPlans(value)
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("%s: a mapping has a key that is no string: %w", file, err)
	}
	s := new(Scenario)
	strict, err := sigsjson.UnmarshalStrict(data, s)
	if err != nil {
		return nil, place.decodeError(err)
	}
	var errs []error
	for _, e := range strict {
		errs = append(errs, place.decodeError(e))
	}
	for _, p := range s.problems() {
		errs = append(errs, place.error(p.field, p.text))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// joinPlans makes one text of every plan that is written as a list of its
// steps, as the longer ones read better.
func joinPlans(value any) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			joinPlans(item)
		}
	case map[string]any:
		for key, item := range v {
			if list, ok := item.([]any); ok && (key == "balloon" || key == "press" || key == "exec") {
				if text, ok := joinSteps(list); ok {
					v[key] = text
				}
				continue
			}
			joinPlans(item)
		}
	}
}

// joinSteps reports whether the list holds nothing but strings.
func joinSteps(list []any) (string, bool) {
	steps := make([]string, len(list))
	for i, item := range list {
		text, ok := item.(string)
		if !ok {
			return "", false
		}
		steps[i] = text
	}
	return strings.Join(steps, ", "), true
}

// places knows the line of every field of a file.
type places struct {
	file  string
	lines map[string]int
}

func (p places) note(field string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			name := strings.TrimPrefix(field+"."+key.Value, ".")
			p.lines[name] = key.Line
			p.note(name, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			name := fmt.Sprintf("%s[%d]", field, i)
			p.lines[name] = item.Line
			p.note(name, item)
		}
	}
}

// error places text at field, or at the nearest parent that the file has.
func (p places) error(field, text string) error {
	for parent := field; ; {
		if line, ok := p.lines[parent]; ok {
			return fmt.Errorf("%s:%d: %s: %s", p.file, line, field, text)
		}
		cut := strings.LastIndexAny(parent, ".[")
		if cut < 0 {
			return fmt.Errorf("%s: %s: %s", p.file, field, text)
		}
		parent = parent[:cut]
	}
}

var unknownField = regexp.MustCompile(`unknown field "(.*)"`)

// decodeError gives a line to what the JSON decoder found.
func (p places) decodeError(err error) error {
	var mismatch *json.UnmarshalTypeError
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return p.error(m[1], "unknown field")
	} else if errors.As(err, &mismatch) {
		return p.error(mismatch.Field, fmt.Sprintf("want %s, not a %s", mismatch.Type, mismatch.Value))
	}
	return fmt.Errorf("%s: %w", p.file, err)
}
