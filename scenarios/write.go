package scenarios

import (
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// Write writes the scenario as a file that Parse reads as the same one.
func (s *Scenario) Write(w io.Writer) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write scenario %s: %w", s.Metadata.Name, err)
	}
	var root yaml.Node // JSON is YAML; a node keeps the order of the keys
	if err := yaml.Unmarshal(data, &root); err != nil {
		return fmt.Errorf("write scenario %s: %w", s.Metadata.Name, err)
	}
	blockStyle(&root, 0)
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := encoder.Encode(&root); err != nil {
		return fmt.Errorf("write scenario %s: %w", s.Metadata.Name, err)
	}
	return encoder.Close()
}

// blockStyle lays the nodes out as people do: small mappings of scalars deep
// inside in one line, long text folded.
func blockStyle(n *yaml.Node, depth int) {
	const wide = 70
	switch n.Kind {
	case yaml.ScalarNode:
		n.Style = 0
		if n.Tag == "!!str" && len(n.Value) > 2*wide {
			n.Style = yaml.FoldedStyle
		}
	case yaml.MappingNode, yaml.SequenceNode:
		flat, length := depth > 2, 0
		for _, c := range n.Content {
			flat = flat && c.Kind == yaml.ScalarNode
			length += len(c.Value) + 2
		}
		n.Style = 0
		if flat && length < wide {
			n.Style = yaml.FlowStyle
		}
	}
	for _, c := range n.Content {
		blockStyle(c, depth+1)
	}
}
