package balloon

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// Family is a balloon whose memory is held by child processes in equal shares.
// Each child is this program again. When the kernel kills one, the others go
// on, as in any container whose first process outlives its children.
type Family struct {
	Events   *Events
	Commands <-chan Command
	Children int
	// IgnoreDeaths makes Run succeed although a child was killed or failed.
	IgnoreDeaths bool

	alive map[int]child
}

type child struct {
	process  *os.Process
	commands *os.File // the child's standard input
}

// Run starts the children, passes commands on to them, and returns when all
// have ended: with an error unless each of them ended well, or that is ignored. The children die
// with the thread that calls Run. With now they begin at once, without it they
// wait for a start command.
func (f *Family) Run(now bool) error {
	f.alive = map[int]child{}
	exits := make(chan *os.ProcessState)
	for range f.Children {
		c, err := f.startChild()
		if err != nil {
			f.signal(syscall.SIGKILL)
			return err
		}
		f.alive[c.process.Pid] = c
		go func() {
			state, _ := c.process.Wait() // nil only if there is no such child
			exits <- state
		}()
	}
	if now {
		f.tell("start")
	}
	failed := 0
	for len(f.alive) > 0 {
		select {
		case c := <-f.Commands:
			if c.Verb == Terminate {
				f.signal(syscall.SIGTERM)
				return ErrTerminated
			}
			f.tell(c.String())
		case state := <-exits:
			if state == nil {
				return errors.New("wait for a child: it is not ours")
			}
			f.alive[state.Pid()].commands.Close()
			delete(f.alive, state.Pid())
			f.Events.ChildExited(state)
			if !state.Success() {
				failed++
			}
		}
	}
	if failed > 0 && !f.IgnoreDeaths {
		return fmt.Errorf("%d of %d children were killed or failed", failed, f.Children)
	}
	return nil
}

// startChild starts this program again with the same flags, the last ones
// winning.
func (f *Family) startChild() (child, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return child{}, fmt.Errorf("start child: %w", err)
	}
	defer read.Close()
	args := append(os.Args[:len(os.Args):len(os.Args)], "-start=signal", "-state=", "-share="+strconv.Itoa(f.Children))
	process, err := os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
		Files: []*os.File{read, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		write.Close()
		return child{}, fmt.Errorf("start child: %w", err)
	}
	return child{process, write}, nil
}

// tell gives every child a line. One that cannot be told has just died, which
// its exit will say.
func (f *Family) tell(line string) {
	for _, c := range f.alive {
		_, _ = c.commands.WriteString(line + "\n")
	}
}

func (f *Family) signal(s os.Signal) {
	for _, c := range f.alive {
		_ = c.process.Signal(s)
	}
}
