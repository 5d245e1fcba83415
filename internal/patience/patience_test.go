package patience

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int{"": 1, "1": 1, "8": 8, "100": 100, "0": 0, "-2": 0, "101": 0, "1.5": 0, "slow": 0} {
		got, err := parse(text)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}
