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

func TestOf(t *testing.T) {
	if got := Of(10); got != 10 && factor() == 1 {
		t.Errorf("Of(10) = %d", got)
	}
	if got := Of(1000); got != most {
		t.Errorf("Of(1000) = %d, want no more than a machine takes, %d", got, most)
	}
}
