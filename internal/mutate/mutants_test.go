package main

import (
	"slices"
	"testing"
)

func TestMutantsOf(t *testing.T) {
	source := `package p

func f(a, b int) int {
	if !(a < 3) && b == -a { // comment: a + b
		b += max(a, 7) / b
	}
	a++ // mutate: nobody looks at a
	return a * b
}
`
	mutants, err := mutantsOf("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range mutants {
		got = append(got, m.old+" "+m.new)
		if _, err := mutantsOf("p.go", m.apply([]byte(source))); err != nil {
			t.Errorf("%s: not Go any more: %v", m, err)
		}
	}
	want := []string{"! ", "< <=", "3 4", "&& ||", "== !=", "- ", "+= -=", "max min", "7 8", "/ *", "* /"}
	if !slices.Equal(got, want) {
		t.Errorf("mutants %q, want %q", got, want)
	}
	if _, err := mutantsOf("p.go", []byte("no Go")); err == nil {
		t.Error("mutates what is no Go")
	}
}
