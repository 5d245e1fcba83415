// Oomlab-guest is the init of the vm lab's machines: on the kernel that has just
// booted it runs one scenario, with the same engine as every lab, or tests, or a
// program next to docker. It tells what happens over the second serial port, and
// ends the machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/host"
	"github.com/oomlab/oomlab/internal/lab/cgrouplab"
	"github.com/oomlab/oomlab/internal/lab/vmlab/wire"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/internal/run"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == programArg {
		if err := playProgram(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "oomlab-guest:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "oomlab-guest is the init of a virtual machine: oomlab run --lab vm starts it there")
		os.Exit(2)
	}
	if err := play(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "oomlab-guest:", err) // the console: there is no port to tell it to
	}
	// QEMU ends at a restart (-no-reboot). Init must never return: that is a
	// kernel panic.
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	fmt.Fprintln(os.Stderr, "oomlab-guest: restart:", err)
	select {}
}

// play does the job. Its error says that nobody could be told the outcome.
func play(ctx context.Context) error {
	if err := mountBase(); err != nil {
		return err
	}
	job, err := readJob()
	if err != nil {
		return err
	}
	if job.Program != nil || job.Node != nil {
		return hostSecond(job)
	}
	if job.Seed != nil {
		if err := neverHalt(); err != nil {
			return err
		}
	}
	port, err := wire.OpenPort()
	if err != nil {
		return err
	}
	last := wire.Message{Done: true}
	if last.Record, err = do(ctx, job, port); err != nil {
		last.Error = err.Error()
	}
	return port.End(last)
}

func readJob() (job wire.Job, err error) {
	data, err := os.ReadFile(wire.JobFile)
	if err != nil {
		return job, fmt.Errorf("read the job: %w", err)
	}
	if err := json.Unmarshal(data, &job); err != nil {
		return job, fmt.Errorf("read the job: %w", err)
	}
	return job, nil
}

func do(ctx context.Context, job wire.Job, port *wire.Port) (_ *record.Record, err error) {
	if job.Scenario == nil && !job.Tests {
		return nil, nil
	}
	if err := mountCgroups(job.CgroupVersion); err != nil {
		return nil, err
	}
	if job.Tests {
		return nil, runTests(ctx, job.Args, port)
	}
	if job.User != 0 {
		root, err := become(job.User)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, root()) }()
	}
	facts, err := host.Read()
	if err != nil {
		return nil, err
	}
	lab, err := cgrouplab.New(ctx, cgrouplab.Options{
		Name: "vm", Kubelet: job.Kubelet, LowestAdj: facts.LowestAdj, Machine: facts.MemTotal,
	})
	if err != nil {
		return nil, err
	}
	if job.Seed != nil {
		go perturb(*job.Seed)
	}
	var lost error
	r, err := run.Run(ctx, lab, job.Scenario, run.Options{
		Host: facts.Record(), Expendable: true,
		Observe: func(e record.Event) {
			if err := port.Send(wire.Message{Event: &e}); err != nil && lost == nil {
				lost = err
			}
		},
	})
	if err == nil && lost != nil {
		err = fmt.Errorf("tell the story: %w", lost)
	}
	return r, err
}
