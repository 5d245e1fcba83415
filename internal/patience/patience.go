// Package patience stretches what bounds waits on machines that are slow for a
// known reason, such as one whose every instruction is translated. It changes no
// measurement and no claim: what is there earlier is taken earlier.
package patience

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// Env names the variable with the factor, 1 (the default) to 100, by which this
// machine may be slower than one that executes its instructions itself.
const Env = "OOMLAB_PATIENCE"

const most = 100

// With returns how long to wait here for what takes d at most elsewhere.
func With(d time.Duration) time.Duration { return d * time.Duration(factor()) }

// Of returns the factor, from 1 to 100, of a machine that runs on this one and is
// slower than it by another.
func Of(slower int) int { return min(slower*factor(), most) }

// Needed reports whether waits are stretched at all.
func Needed() bool { return factor() > 1 }

// Check returns what is wrong with the variable.
func Check() error {
	_, err := parse(os.Getenv(Env))
	return err
}

// factor is 1 where the variable makes no sense, which Check tells.
var factor = sync.OnceValue(func() int {
	n, err := parse(os.Getenv(Env))
	if err != nil {
		return 1
	}
	return n
})

func parse(text string) (int, error) {
	if text == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s=%q: want a whole number from 1 to %d", Env, text, most)
	}
	return n, nil
}
