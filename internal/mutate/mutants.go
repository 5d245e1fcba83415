package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
)

// A mutant is a source file with one piece of text replaced.
type mutant struct {
	at       token.Position
	old, new string
}

func (m mutant) String() string { return fmt.Sprintf("%s: %s -> %q", m.at, m.old, m.new) }

// apply returns source with the change.
func (m mutant) apply(source []byte) []byte {
	return slices.Concat(source[:m.at.Offset], []byte(m.new), source[m.at.Offset+len(m.old):])
}

// swaps are the changes of an operator or name, each the nearest wrong one.
var swaps = map[string]string{
	"+": "-", "-": "+", "*": "/", "/": "*", "+=": "-=", "-=": "+=", "++": "--",
	"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&",
	"min": "max", "max": "min", "true": "false", "false": "true", "break": "continue", "continue": "break",
}

// mutantsOf returns every mutant of a Go file, in the order of the text.
func mutantsOf(name string, source []byte) ([]mutant, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	add := func(pos token.Pos, old, new string) {
		at := fset.Position(pos)
		line, _, _ := bytes.Cut(source[at.Offset:], []byte("\n"))
		if !bytes.Contains(line, []byte("// mutate: ")) {
			mutants = append(mutants, mutant{at, old, new})
		}
	}
	swap := func(pos token.Pos, old string) {
		if new, ok := swaps[old]; ok {
			add(pos, old, new)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			swap(n.OpPos, n.Op.String())
		case *ast.UnaryExpr:
			if n.Op == token.NOT || n.Op == token.SUB {
				add(n.OpPos, n.Op.String(), "")
			}
		case *ast.AssignStmt:
			swap(n.TokPos, n.Tok.String())
		case *ast.IncDecStmt:
			swap(n.TokPos, n.Tok.String())
		case *ast.BranchStmt:
			swap(n.TokPos, n.Tok.String())
		case *ast.Ident:
			swap(n.NamePos, n.Name)
		case *ast.BasicLit:
			if v, err := strconv.Atoi(n.Value); n.Kind == token.INT && err == nil {
				add(n.ValuePos, n.Value, strconv.Itoa(v+1))
			}
		}
		return true
	})
	slices.SortStableFunc(mutants, func(a, b mutant) int { return a.at.Offset - b.at.Offset })
	return mutants, nil
}
