package apt

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fake is a Debian machine that records what was run on it.
type fake struct {
	installed string // dpkg-query's answer
	failures  int    // how many times "apt-get install" fails before it works
	ran       []string
}

func (f *fake) host() host {
	return host{root: true, look: func(string) bool { return true }, run: f.run}
}

func (f *fake) run(_ context.Context, argv ...string) (string, error) {
	if argv[0] == "dpkg-query" {
		return f.installed, errors.New("exit status 1")
	}
	f.ran = append(f.ran, argv[1])
	if argv[1] == "install" && f.failures > 0 {
		f.failures--
		return "", errors.New("E: Unable to locate package")
	}
	return "", nil
}

func TestEnsureInstallsOnlyWhatIsMissing(t *testing.T) {
	tests := map[string]struct {
		machine fake
		wantRan []string
		wantErr string
	}{
		"all there":   {fake{installed: "podman ii \nrunc hi \n"}, nil, ""},
		"one removed": {fake{installed: "podman ii \nrunc rc \n"}, []string{"install"}, ""},
		"one unknown": {fake{installed: "podman ii \n"}, []string{"install"}, ""},
		"stale lists": {fake{failures: 1}, []string{"install", "update", "install"}, ""},
		"no package":  {fake{failures: 2}, []string{"install", "update", "install"}, "install podman runc: E: Unable to locate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := tt.machine.host().ensure(t.Context(), &out, []string{"podman", "runc"})
			if diff := cmp.Diff(tt.wantRan, tt.machine.ran); diff != "" {
				t.Errorf("apt-get subcommands (-want +got):\n%s", diff)
			}
			if said := strings.Contains(out.String(), "installing"); said != (tt.wantRan != nil) {
				t.Errorf("said %q while running %q", out.String(), tt.machine.ran)
			}
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
		})
	}
}

func TestEnsureRefusesAndSaysWhatToRun(t *testing.T) {
	tests := map[string]struct {
		change func(*host)
		want   string
	}{
		"forbidden":  {func(h *host) { h.forbidden = "not today" }, "not today: run: apt-get install --no-install-recommends runc"},
		"not root":   {func(h *host) { h.root = false }, "run: sudo apt-get install --no-install-recommends runc"},
		"not Debian": {func(h *host) { h.look = func(string) bool { return false } }, "its own package manager"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := fake{installed: "podman ii \n"}
			h := f.host()
			tt.change(&h)
			err := h.ensure(t.Context(), &strings.Builder{}, []string{"podman", "runc"})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrRefused with %q", err, tt.want)
			}
			if f.ran != nil {
				t.Errorf("ran apt-get %q", f.ran)
			}
		})
	}
}

func TestRunKeepsTheLastLinesOfAFailure(t *testing.T) {
	_, err := run(t.Context(), "sh", "-c", "seq 9; exit 3")
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 3\n5\n6\n7\n8\n9") {
		t.Errorf("error %v", err)
	}
}
