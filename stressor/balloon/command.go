package balloon

import (
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/stressor/balloon/plan"
)

// Command steers a running balloon.
type Command struct {
	Verb CommandVerb
	Plan plan.Plan // NewPlan only
}

// CommandVerb is what a command asks for.
type CommandVerb int

// The commands, with the line on standard input and the signal that give them.
const (
	Start     CommandVerb = iota + 1 // "start", SIGUSR1
	Resume                           // "resume", SIGUSR1
	Pause                            // "pause", SIGUSR2: stop growing at once and hold
	Terminate                        // SIGTERM, SIGINT; SIGHUP: a little later
	NewPlan                          // any plan: carried out from the present level on
)

// Signals sends the commands that arrive as signals. Whoever is deaf does not
// hear SIGTERM.
func Signals(to chan<- Command, deaf bool) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT, orphaned)
	if deaf {
		signal.Ignore(syscall.SIGTERM)
	}
	go func() {
		for s := range signals {
			switch s {
			case syscall.SIGUSR1:
				to <- Command{Verb: Start}
			case syscall.SIGUSR2:
				to <- Command{Verb: Pause}
			case orphaned:
				time.Sleep(orphanGrace)
				to <- Command{Verb: Terminate}
			default:
				to <- Command{Verb: Terminate}
			}
		}
	}()
}

// ReadLines sends the commands that arrive as lines of r, until it ends. What
// is no command is reported as an error event and otherwise ignored.
func ReadLines(r io.Reader, to chan<- Command, events *Events) {
	var line []byte
	var buf [256]byte
	for {
		n, err := r.Read(buf[:])
		for _, c := range buf[:n] {
			switch {
			case c != '\n':
				line = append(line, c)
			default:
				if command, err := parseCommand(string(line)); err != nil {
					events.Error(err)
				} else if command.Verb != 0 {
					to <- command
				}
				line = line[:0]
				runtime.GC() // reading commands is all that makes garbage
			}
		}
		if err != nil {
			return
		}
	}
}

// parseCommand reads one line. An empty line is no command and no error.
func parseCommand(line string) (Command, error) {
	line = strings.TrimSpace(line)
	switch line {
	case "":
		return Command{}, nil
	case "start":
		return Command{Verb: Start}, nil
	case "resume":
		return Command{Verb: Resume}, nil
	case "pause":
		return Command{Verb: Pause}, nil
	}
	p, err := plan.Parse(line)
	return Command{Verb: NewPlan, Plan: p}, err
}

// String writes c as parseCommand reads it.
func (c Command) String() string {
	switch c.Verb {
	case Start:
		return "start"
	case Resume:
		return "resume"
	case Pause:
		return "pause"
	case NewPlan:
		return c.Plan.String()
	}
	return ""
}
