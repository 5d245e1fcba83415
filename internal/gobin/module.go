package gobin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/oomlab/oomlab/internal/proc"
)

// buildModule is the path of the generated modules. It is never published.
const buildModule = "oomlab.build"

// writeModule writes into work the go.mod and go.sum of a module that requires
// s.Module, whose source code is in source.
func (s Spec) writeModule(source, work string) error {
	path := filepath.Join(source, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	upstream, err := modfile.Parse(path, text, nil)
	if err != nil {
		return err
	}
	mod, err := s.goMod(upstream)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "go.mod"), mod, 0o644); err != nil {
		return err
	}
	// The module's own go.sum pins its dependencies even where the checksum
	// database is out of reach.
	sums, err := os.ReadFile(filepath.Join(source, "go.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(filepath.Join(work, "go.sum"), sums, 0o644)
}

// goMod returns the go.mod of a module that builds s.Module exactly as it
// builds itself: the same language version and defaults (a dependency's
// godebug and replace lines count for nothing), the same replacements.
func (s Spec) goMod(upstream *modfile.File) ([]byte, error) {
	mod := new(modfile.File)
	if err := mod.AddModuleStmt(buildModule); err != nil {
		return nil, err
	}
	if upstream.Go != nil {
		if err := mod.AddGoStmt(upstream.Go.Version); err != nil {
			return nil, err
		}
	}
	for _, g := range upstream.Godebug {
		if err := mod.AddGodebug(g.Key, g.Value); err != nil {
			return nil, err
		}
	}
	if err := mod.AddRequire(s.Module, s.Version); err != nil {
		return nil, err
	}
	for _, r := range upstream.Replace {
		to := r.New
		if modfile.IsDirectoryPath(to.Path) {
			if s.Staging == "" {
				return nil, fmt.Errorf("%s replaces %s by a directory of its repository: Spec.Staging must say which version to use", s, r.Old.Path)
			}
			to.Path, to.Version = r.Old.Path, s.Staging
		}
		if err := mod.AddReplace(r.Old.Path, r.Old.Version, to.Path, to.Version); err != nil {
			return nil, err
		}
	}
	return mod.Format()
}

// writeMultiCall copies the main packages of all commands into ordinary
// packages of the module in work, and writes a main package that calls them.
// Copying the sources instead of calling what they call keeps every command
// just as its authors wrote it, in whichever version.
func (s Spec) writeMultiCall(ctx context.Context, work string) error {
	for name, pkg := range s.Commands {
		args := append([]string{"list"}, s.flags()...)
		out, err := proc.Output(s.command(ctx, work, append(args, "-json=Dir,GoFiles", pkg)...))
		if err != nil {
			return err
		}
		var list struct {
			Dir     string
			GoFiles []string
		}
		if err := json.Unmarshal(out, &list); err != nil {
			return err
		}
		if err := copyMain(list.Dir, list.GoFiles, filepath.Join(work, name)); err != nil {
			return fmt.Errorf("copy main package %s: %w", pkg, err)
		}
	}
	main, err := multiCallMain(slices.Sorted(maps.Keys(s.Commands)))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, "main.go"), main, 0o644)
}

// copyMain copies the files of a main package from dir to target, as a
// package that exports Main.
func copyMain(dir string, files []string, target string) error {
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	mains := 0
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		text, found := exportMain(text)
		mains += found
		if err := os.WriteFile(filepath.Join(target, file), text, 0o644); err != nil {
			return err
		}
	}
	if mains != 1 {
		return fmt.Errorf("found %d functions main in %s, want one", mains, dir)
	}
	return nil
}

var (
	packageMain = regexp.MustCompile(`(?m)^package main\b`)
	funcMain    = regexp.MustCompile(`(?m)^func main\(\)`)
)

// exportMain turns a file of a main package into one of a package called
// command, and its function main, of which it returns the number, into Main.
func exportMain(text []byte) (exported []byte, mains int) {
	mains = len(funcMain.FindAll(text, -1))
	text = funcMain.ReplaceAll(text, []byte("func Main()"))
	return packageMain.ReplaceAll(text, []byte("package command")), mains
}

// multiCallMain returns the source code of a program that is all of names.
func multiCallMain(names []string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("package main\n\nimport (\n\"fmt\"\n\"os\"\n\"path/filepath\"\n\n")
	for i, name := range names {
		fmt.Fprintf(&b, "c%d %q\n", i, buildModule+"/"+name)
	}
	b.WriteString(")\n\nfunc main() {\nswitch name := filepath.Base(os.Args[0]); name {\n")
	for i, name := range names {
		fmt.Fprintf(&b, "case %q:\nc%d.Main()\n", name, i)
	}
	fmt.Fprintf(&b, "default:\nfmt.Fprintf(os.Stderr, \"%%s: not one of %s\\n\", name)\nos.Exit(2)\n}\n}\n", strings.Join(names, ", "))
	return format.Source(b.Bytes())
}
