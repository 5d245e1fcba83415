// Oomlab-node is the second process of the vm lab's machines with a kubelet: it
// makes the machine a node, runs one scenario there with the same engine as
// every lab, and tells what happens over the second serial port. oomlab-guest,
// the init, starts it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/kubeletlab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

func main() {
	if os.Getppid() != 1 {
		fmt.Fprintln(os.Stderr, "oomlab-node makes a virtual machine a node: oomlab run --lab vm --kubelet starts it there")
		os.Exit(2)
	}
	if err := play(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "oomlab-node:", err) // the console: there is no port to tell it to
		os.Exit(1)
	}
}

// play does the job. Its error says that nobody could be told the outcome.
func play(ctx context.Context) error {
	var job wire.Job
	if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	port, err := wire.OpenPort()
	if err != nil {
		return err
	}
	var lost error
	observe := func(e record.Event) { lost = errors.Join(lost, port.Send(wire.Message{Event: &e})) }
	last := wire.Message{Done: true}
	last.Record, err = do(ctx, job.Scenario, *job.Node, observe)
	if err := errors.Join(err, lost); err != nil {
		last.Error = err.Error()
	}
	return port.End(last)
}

func do(ctx context.Context, s *scenarios.Scenario, n wire.Node, observe func(record.Event)) (*record.Record, error) {
	if err := patience.Check(); err != nil {
		return nil, err
	}
	began := time.Now()
	facts, err := host.Read()
	if err != nil {
		return nil, err
	}
	lab := kubeletlab.New(kubeletlab.Options{
		Name: scenarios.MachineLab, Image: n.Image, Archive: filepath.Join(wire.InputDir, wire.StressorImage),
		Tell: func(step string) {
			observe(record.Event{AtSeconds: time.Since(began).Seconds(), Step: "prepare", Text: step})
		},
	})
	return run.Run(ctx, lab, s, run.Options{Host: facts.Record(), Expendable: true, Observe: observe})
}
