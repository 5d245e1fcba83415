// Package gobin builds commands of pinned Go modules into oomlab's cache.
//
// Every build happens in a generated module that requires the wanted one, so
// the Go command itself checks all source code, against the go.sum that the
// module carries and the Go checksum database. A build is found again by the
// hash of everything that went into it, and never repeated.
package gobin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/cache"
	"github.com/oomlab/oomlab/internal/proc"
)

// Spec says what to build. All of it, and the version of Go, is the identity
// of the result.
type Spec struct {
	Module  string // path of the module, as "github.com/opencontainers/runc"
	Version string // its version, as "v1.5.2"

	// Commands maps the names of the binaries to the paths of the main
	// packages that they are built from. A package may belong to a dependency
	// of Module.
	Commands map[string]string

	// MultiCall, where not empty, links all commands into one binary of this
	// name, which runs the one that it was started as (by the base name of
	// its first argument); the commands are symbolic links to it. One link instead of many saves minutes and, as
	// most of their code is common, most of the disk.
	MultiCall string

	// Staging is the version at which those modules are published that
	// Module's own go.mod replaces by directories of its repository, as
	// k8s.io/kubernetes does.
	Staging string

	Tags    []string
	LDFlags []string // added to -s -w
	CGO     bool     // needs a C compiler; all else is static
}

// Runc builds a runc that knows seccomp. It needs gcc, pkg-config and
// libseccomp-dev.
func Runc(ctx context.Context, out io.Writer, version string) (path string, err error) {
	dir, err := Build(ctx, out, Spec{
		Module:   "github.com/opencontainers/runc",
		Version:  version,
		Commands: map[string]string{"runc": "github.com/opencontainers/runc"},
		Tags:     []string{"seccomp"},
		CGO:      true,
	})
	return filepath.Join(dir, "runc"), err
}

// Build returns a directory of the cache that holds the binaries of spec, and
// builds them where it is absent, telling out how long that took.
func Build(ctx context.Context, out io.Writer, spec Spec) (dir string, err error) {
	goVersion, err := goEnv(ctx, "GOVERSION", "GOARCH")
	if err != nil {
		return "", err
	}
	key, err := spec.key(goVersion)
	if err != nil {
		return "", err
	}
	return cache.Once(ctx, out, func(dir string) error {
		start := time.Now()
		_, _ = fmt.Fprintf(out, "building %s\n", spec)
		if err := spec.build(ctx, dir); err != nil {
			return fmt.Errorf("build %s: %w", spec, err)
		}
		_, _ = fmt.Fprintf(out, "built %s in %s\n", spec, time.Since(start).Round(time.Second))
		return nil
	}, "bin", key)
}

// String returns module@version.
func (s Spec) String() string { return s.Module + "@" + s.Version }

// key names the cache entry of s: readable first, unique last.
func (s Spec) key(toolchain string) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(text, toolchain...))
	name := strings.NewReplacer("/", "-", ".", "-").Replace(s.Module)
	return fmt.Sprintf("%s@%s-%s", name, s.Version, hex.EncodeToString(sum[:6])), nil
}

func (s Spec) build(ctx context.Context, dir string) error {
	work := filepath.Join(dir, "src") // stays, as the record of what was built
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	source, err := Source(ctx, s.Module, s.Version)
	if err != nil {
		return err
	}
	if err := s.writeModule(source, work); err != nil {
		return err
	}
	commands := s.Commands
	if s.MultiCall != "" {
		if err := s.writeMultiCall(ctx, work); err != nil {
			return err
		}
		commands = map[string]string{s.MultiCall: "."}
	}
	for name, pkg := range commands {
		args := append([]string{"build"}, s.flags()...)
		args = append(args, "-o", filepath.Join(dir, name), pkg)
		if err := proc.Run(s.command(ctx, work, args...)); err != nil {
			return err
		}
	}
	for name := range s.Commands {
		if s.MultiCall != "" && name != s.MultiCall {
			if err := os.Symlink(s.MultiCall, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// flags are those of every command of the go tool that loads packages.
func (s Spec) flags() []string {
	return []string{
		"-mod=mod", // go.mod and go.sum are ours to complete
		"-trimpath", "-buildvcs=false",
		"-gcflags=all=-dwarf=false", // a quarter of the build cache; -s drops it anyway
		"-tags=" + strings.Join(s.Tags, ","),
		"-ldflags=" + strings.Join(append([]string{"-s", "-w"}, s.LDFlags...), " "),
	}
}

func (s Spec) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := goCommand(ctx, args...)
	cmd.Dir = dir
	cgo := "CGO_ENABLED=0"
	if s.CGO {
		cgo = "CGO_ENABLED=1"
	}
	// Compilers live for seconds: collecting garbage less often makes them
	// about a tenth faster.
	cmd.Env = append(cmd.Env, cgo, "GOGC=400")
	return cmd
}

// Source returns the directory that holds the verified source code of a
// module, and downloads it where it is absent.
func Source(ctx context.Context, module, version string) (dir string, err error) {
	out, err := proc.Output(goCommand(ctx, "mod", "download", "-json", module+"@"+version))
	var result struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &result); jsonErr != nil {
		// Without JSON the command failed before it tried: its own error says why.
		return "", errors.Join(err, jsonErr)
	}
	if result.Error != "" {
		return "", fmt.Errorf("download Go module %s@%s: %s (the version may not exist; or check the network, "+
			"and that GOPROXY, now %q, is reachable)", module, version, result.Error, os.Getenv("GOPROXY"))
	}
	return result.Dir, err
}

// goEnv returns settings of the Go toolchain in use.
func goEnv(ctx context.Context, names ...string) (string, error) {
	out, err := proc.Output(goCommand(ctx, append([]string{"env"}, names...)...))
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w: install Go 1.26 or newer from https://go.dev/dl and put it on PATH", err)
	}
	return string(out), err
}

// goCommand runs the go tool outside of any module or workspace, without the
// flags that the user keeps for their own builds.
func goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := proc.Command(ctx, "go", args...)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GO111MODULE=on")
	return cmd
}
