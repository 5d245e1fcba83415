package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
)

const adjFile = "/proc/self/oom_score_adj"

// adjMutex keeps two probes in this process from restoring each other's values.
var adjMutex sync.Mutex

// lowestAdj finds the lowest oom_score_adj that this process, and so its
// children, may be given, and says what it saw. It tries on itself for a moment
// and restores the value.
func lowestAdj() (lowest int, proof string, err error) {
	adjMutex.Lock()
	defer adjMutex.Unlock()
	before, err := os.ReadFile(adjFile)
	if err != nil {
		return 0, "", fmt.Errorf("probe oom_score_adj: %w", err)
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(before)))
	if err != nil {
		return 0, "", fmt.Errorf("probe oom_score_adj: %w", err)
	}
	// Raising is always allowed, so going back is.
	defer func() { err = errors.Join(err, writeAdj(now)) }()
	lowest, refusal, err := searchAdj(now, writeAdj)
	if err != nil {
		return 0, "", fmt.Errorf("probe oom_score_adj: %w", err)
	}
	if refusal == nil {
		return lowest, "wrote -1000 to " + adjFile, nil
	}
	return lowest, fmt.Sprintf("%v; %d is the lowest accepted", refusal, lowest), nil
}

// searchAdj returns the lowest value from -1000 to now that write accepts, and
// why it refused the one below. The kernel keeps a floor per process, which
// only CAP_SYS_RESOURCE passes (fs/proc/base.c, __set_oom_adj): what is above
// the floor is accepted, what is below is not.
func searchAdj(now int, write func(int) error) (lowest int, refusal, err error) {
	low, high := -1000, now // the answer is in here, and high is accepted
	for try := low; low < high; try = low + (high-low)/2 {
		err := write(try)
		switch {
		case err == nil:
			high = try
		case errors.Is(err, fs.ErrPermission):
			low, refusal = try+1, err
		default:
			return 0, nil, err
		}
	}
	return high, refusal, nil
}

func writeAdj(adj int) error {
	if err := os.WriteFile(adjFile, []byte(strconv.Itoa(adj)), 0); err != nil {
		return fmt.Errorf("write %d: %w", adj, err)
	}
	return nil
}
