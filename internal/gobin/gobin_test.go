package gobin

import (
	"archive/zip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"

	"github.com/oomlab/oomlab/internal/cache"
)

func TestKeyCoversEverything(t *testing.T) {
	base := func() Spec {
		return Spec{Module: "example.com/m", Version: "v1.2.3", Commands: map[string]string{"c": "example.com/m/cmd/c"}}
	}
	variants := map[string]func(*Spec){
		"module":    func(s *Spec) { s.Module = "example.com/n" },
		"version":   func(s *Spec) { s.Version = "v1.2.4" },
		"commands":  func(s *Spec) { s.Commands["d"] = "example.com/m/cmd/d" },
		"multicall": func(s *Spec) { s.MultiCall = "all" },
		"staging":   func(s *Spec) { s.Staging = "v0.2.3" },
		"tags":      func(s *Spec) { s.Tags = []string{"seccomp"} },
		"ldflags":   func(s *Spec) { s.LDFlags = []string{"-X=main.v=1"} },
		"cgo":       func(s *Spec) { s.CGO = true },
	}
	want, err := base().key("go1.26.0")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := base().key("go1.26.0"); again != want {
		t.Errorf("the key of one spec is once %s and once %s", want, again)
	}
	if !strings.HasPrefix(want, "example-com-m@v1.2.3-") {
		t.Errorf("key %s does not say what it is", want)
	}
	if other, _ := base().key("go1.26.1"); other == want {
		t.Error("another toolchain has the same key")
	}
	for name, change := range variants {
		spec := base()
		change(&spec)
		if other, _ := spec.key("go1.26.0"); other == want {
			t.Errorf("another %s has the same key", name)
		}
	}
}

const upstreamMod = `module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require (
	k8s.io/api v0.0.0
	example.com/fork v1.0.0
)

replace (
	example.com/fork => example.com/forked v1.0.1
	k8s.io/api => ./staging/src/k8s.io/api
)
`

func TestGoMod(t *testing.T) {
	upstream, err := modfile.Parse("go.mod", []byte(upstreamMod), nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Module: "k8s.io/kubernetes", Version: "v1.37.2", Staging: "v0.37.2"}
	got, err := spec.goMod(upstream)
	if err != nil {
		t.Fatal(err)
	}
	want := `module oomlab.build

go 1.26.0

godebug default=go1.26

require k8s.io/kubernetes v1.37.2

replace example.com/fork => example.com/forked v1.0.1

replace k8s.io/api => k8s.io/api v0.37.2
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("go.mod (-want +got):\n%s", diff)
	}

	spec.Staging = ""
	if _, err := spec.goMod(upstream); err == nil || !strings.Contains(err.Error(), "Spec.Staging") {
		t.Errorf("err = %v, want one that asks for Spec.Staging", err)
	}
}

func TestExportMain(t *testing.T) {
	got, mains := exportMain([]byte("// package main\npackage main\n\nfunc mainly() {}\n\nfunc main() {\n\tmainly()\n}\n"))
	want := "// package main\npackage command\n\nfunc mainly() {}\n\nfunc Main() {\n\tmainly()\n}\n"
	if diff := cmp.Diff(want, string(got)); diff != "" || mains != 1 {
		t.Errorf("%d functions main, source (-want +got):\n%s", mains, diff)
	}
}

// TestBuild builds a made-up module, served from a directory, with the real
// go tool: once as single binaries, once as one for all.
func TestBuild(t *testing.T) {
	t.Setenv(cache.Env, t.TempDir())
	serveModule(t, "example.com/tools", "v1.0.0", map[string]string{
		"go.mod":       "module example.com/tools\n\ngo 1.24\n",
		"cmd/hi/hi.go": "package main\n\nimport \"fmt\"\n\nvar version string\n\nfunc main() { fmt.Print(\"hi \", version) }\n",
		"cmd/ho/ho.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Print(\"ho\") }\n",
		// A second file shows that all of a main package is copied.
		"cmd/hi/more.go": "package main\n\nfunc init() { version += \"!\" }\n",
	})
	single := Spec{
		Module:   "example.com/tools",
		Version:  "v1.0.0",
		Commands: map[string]string{"hi": "example.com/tools/cmd/hi", "ho": "example.com/tools/cmd/ho"},
		LDFlags:  []string{"-X", "main.version=1"},
	}
	dir, err := Build(t.Context(), io.Discard, single)
	if err != nil {
		t.Fatal(err)
	}
	expectOutput(t, "hi 1!", filepath.Join(dir, "hi"))
	expectOutput(t, "ho", filepath.Join(dir, "ho"))

	multi := single
	multi.MultiCall = "all"
	dir, err = Build(t.Context(), io.Discard, multi)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"hi": "hi !", "ho": "ho"} {
		expectOutput(t, want, filepath.Join(dir, name))
	}
	if err := exec.Command(filepath.Join(dir, "all")).Run(); err == nil {
		t.Error("a name that is no command succeeded")
	}

	var again strings.Builder
	if same, err := Build(t.Context(), &again, multi); same != dir || err != nil || again.Len() > 0 {
		t.Errorf("a second build returned %s, %v and said %q", same, err, again.String())
	}
}

func TestSourceSaysWhatIsMissing(t *testing.T) {
	serveModule(t, "example.com/tools", "v1.0.0", map[string]string{"go.mod": "module example.com/tools\n"})
	_, err := Source(t.Context(), "example.com/tools", "v9.9.9")
	if err == nil || !strings.Contains(err.Error(), "example.com/tools@v9.9.9") || !strings.Contains(err.Error(), "GOPROXY") {
		t.Errorf("err = %v, want one that names the module and GOPROXY", err)
	}
}

func expectOutput(t *testing.T, want, path string) {
	t.Helper()
	if out, err := exec.Command(path).CombinedOutput(); string(out) != want || err != nil {
		t.Errorf("%s printed %q, %v, want %q", filepath.Base(path), out, err, want)
	}
}

// serveModule makes a module proxy out of a directory, and the only one.
func serveModule(t *testing.T, module, version string, files map[string]string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go tool is not on PATH")
	}
	proxy := t.TempDir()
	versions := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	archive, err := os.Create(filepath.Join(versions, version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	w := zip.NewWriter(archive)
	for name, text := range files {
		f, err := w.Create(module + "@" + version + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		version + ".info": `{"Version":"` + version + `"}`,
		version + ".mod":  files["go.mod"],
	} {
		if err := os.WriteFile(filepath.Join(versions, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	modCache := t.TempDir()
	t.Setenv("GOPROXY", "file://"+proxy)
	t.Setenv("GONOSUMDB", "*")
	t.Setenv("GOMODCACHE", modCache)
	t.Cleanup(func() { // the module cache is read-only
		if out, err := exec.Command("chmod", "-R", "u+w", modCache).CombinedOutput(); err != nil {
			t.Errorf("make %s removable: %v\n%s", modCache, err, out)
		}
	})
}
