// Mutate checks that tests would notice a wrong rule. It changes one operator,
// comparison, clamp or number of a package at a time and runs the package's
// tests: a change that no test fails is a survivor.
//
//	go run ./internal/mutate ./internal/oom
//
// A line that ends in "// mutate: REASON" is left alone: a change there makes
// no difference, for that reason. The exit code is 1 if there are survivors.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	list := flag.Bool("list", false, "print the mutants and run nothing")
	only := flag.String("only", "", "a regular expression: only mutants that it matches, as -list prints them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survivors, err := run(ctx, flag.Args(), *only, *list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if survivors > 0 {
		os.Exit(1)
	}
}

// run mutates the packages in dirs and returns how many mutants survive.
func run(ctx context.Context, dirs []string, only string, list bool) (survivors int, err error) {
	selected, err := regexp.Compile(only)
	if err != nil {
		return 0, err
	}
	if len(dirs) == 0 {
		return 0, errors.New("name the folder of a package, such as ./internal/oom")
	}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return survivors, err
		}
		count := make(map[verdict]int)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				return survivors, err
			}
			mutants, err := mutantsOf(file, source)
			if err != nil {
				return survivors, err
			}
			for _, m := range mutants {
				if !selected.MatchString(m.String()) {
					continue
				}
				if list {
					fmt.Println(m)
					continue
				}
				v, err := judge(ctx, dir, file, m.apply(source))
				if err != nil {
					return survivors, err
				}
				count[v]++
				if v == survived {
					fmt.Println("survived:", m)
				}
			}
		}
		if !list {
			fmt.Printf("%s: %d killed, %d survived, %d do not compile\n", dir, count[killed], count[survived], count[invalid])
		}
		survivors += count[survived]
	}
	return survivors, nil
}

type verdict int

const (
	killed verdict = iota
	survived
	invalid
)

// judge runs the tests of the package in dir with other contents for file.
func judge(ctx context.Context, dir, file string, contents []byte) (verdict, error) {
	tmp, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(tmp)
	mutant := filepath.Join(tmp, "mutant.go")
	original, err := filepath.Abs(file)
	if err != nil {
		return 0, err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutant}})
	if err != nil {
		return 0, err
	}
	overlayFile := filepath.Join(tmp, "overlay.json")
	if err := errors.Join(os.WriteFile(mutant, contents, 0o600), os.WriteFile(overlayFile, overlay, 0o600)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("a mutant takes longer than 2 minutes"))
	defer cancel()
	test := filepath.Join(tmp, "mutant.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", test, "./"+filepath.Clean(dir))
	if build.Run() != nil {
		return invalid, context.Cause(ctx)
	}
	tests := exec.CommandContext(ctx, test, "-test.short", "-test.failfast", "-test.timeout", "20s")
	tests.Dir = dir
	if tests.Run() != nil {
		return killed, context.Cause(ctx)
	}
	return survived, nil
}
