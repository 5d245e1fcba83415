package lab

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/oomlab/oomlab/scenarios"
)

// Settling follows the events of one container's stressor until the container
// is as it should be before the pressure: each process of the stressor holds
// its balloon, and goes on no further by itself.
type Settling struct{ missing int }

// SettlingOf returns what is to be seen of a container that has just started.
func SettlingOf(c scenarios.Container) (Settling, error) {
	whole, err := c.Plan()
	return Settling{missing: max(1, whole.Children)}, err
}

// Event takes the stressor's next line, and reports whether the container has
// settled. An error event is an error.
func (s *Settling) Event(line []byte) (settled bool, err error) {
	var event struct {
		Event, Message string
		ForSeconds     *float64 // how long it holds before it goes on by itself
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return false, fmt.Errorf("event %q of the stressor: %w", line, err)
	}
	switch {
	case event.Event == "error":
		return false, errors.New(event.Message)
	case event.Event == "holding" && event.ForSeconds == nil:
		s.missing--
	}
	return s.missing <= 0, nil
}
