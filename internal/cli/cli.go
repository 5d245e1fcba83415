// Package cli is the command line, one file a verb. Results go to stdout,
// everything else to stderr. Exit codes: 0 pass, 1 fail, 2 usage or bad input,
// 3 inconclusive, unsupported, or could not be finished.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/oomlab/oomlab/internal/record"
)

// The exit codes.
const (
	exitPass = iota
	exitFail
	exitUsage
	exitUnfinished
)

// exitError carries an exit code other than 2. A nil err is silent: everything
// has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// unfinished marks an error that says nothing about the scenario.
func unfinished(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUnfinished, err}
}

// exitFor turns a verdict into the error that gives its exit code.
func exitFor(v record.Verdict) error {
	switch v {
	case record.Pass:
		return nil
	case record.Fail:
		return &exitError{code: exitFail}
	}
	return &exitError{code: exitUnfinished}
}

// Main runs the command line and returns its exit code. SIGINT and SIGTERM end
// the command in order: what it made is removed before Main returns.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitPass
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintf(stderr, "oomlab: %s\n", text)
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "oomlab",
		Short: "Predicts which pod dies when a Kubernetes node runs out of memory, and proves it",
		Example: "  oomlab run qos-order --lab cgroup   # in seconds, without Kubernetes\n" +
			"  oomlab run qos-order                # on a kind cluster\n" +
			"  oomlab doctor                       # what this machine can do",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(
		newRun(),
		newPredict(),
		newExplain(),
		newReproduce(),
		newWhatif(),
		newSelfcheck(),
		newScenarios(),
		newValidate(),
		newShow(),
		newCompare(),
		newMatrix(),
		newHunt(),
		newVerdicts(),
		newPlatforms(),
		newNodeImage(),
		newKernel(),
		newDoctor(),
		newClean(),
		newVersion(),
	)
	return root
}
