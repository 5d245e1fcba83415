package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSelfcheckUsage(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(other, []byte(`{"schema":"oomlab.dev/record/v1"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--experiments=0"}, "want at least 1"},
		{[]string{"--workers=0"}, "want at least 1"},
		{[]string{"--replay=no-such-file"}, "no such file"},
		{[]string{"--replay=" + other}, "this oomlab reads oomlab.dev/selfcheck/v1"},
	} {
		var out bytes.Buffer
		if code := Main(append([]string{"selfcheck"}, tt.args...), &out, &out); code != exitUsage || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%v: exit code %d, %q", tt.args, code, out.String())
		}
	}
}
