package kubestate

import (
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"

	"github.com/oomlab/oomlab/internal/termination"
)

// addEvent reads an event of either API group: the same objects are in both.
func (s *State) addEvent(version string, raw json.RawMessage) error {
	var e corev1.Event
	if strings.HasPrefix(version, eventsv1.GroupName+"/") {
		var n eventsv1.Event
		if err := json.Unmarshal(raw, &n); err != nil {
			return err
		}
		e = corev1.Event{
			ObjectMeta: n.ObjectMeta, InvolvedObject: n.Regarding, Reason: n.Reason, Message: n.Note, EventTime: n.EventTime,
			FirstTimestamp: n.DeprecatedFirstTimestamp, LastTimestamp: n.DeprecatedLastTimestamp, Count: n.DeprecatedCount,
			Source: n.DeprecatedSource, ReportingController: n.ReportingController, ReportingInstance: n.ReportingInstance,
		}
		if n.Series != nil {
			e.Series = &corev1.EventSeries{Count: n.Series.Count, LastObservedTime: n.Series.LastObservedTime}
		}
	} else if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	s.Events = append(s.Events, EventOf(&e))
	return nil
}

// EventOf takes from an event what it tells. Older clients count in count, newer
// ones in a series.
func EventOf(e *corev1.Event) termination.Event {
	o := e.InvolvedObject
	out := termination.Event{
		Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: string(o.UID), Container: containerAt(o.FieldPath),
		Reason: e.Reason, Message: e.Message, Source: e.Source.Component, Node: e.Source.Host,
		Count: max(1, int(e.Count)), First: e.FirstTimestamp.Time, Last: e.LastTimestamp.Time,
	}
	if out.Source == "" {
		out.Source, out.Node = e.ReportingController, e.ReportingInstance
	}
	if out.First.IsZero() {
		out.First = e.EventTime.Truncate(time.Second)
	}
	if e.Series != nil {
		out.Count, out.Last = max(out.Count, int(e.Series.Count)), e.Series.LastObservedTime.Truncate(time.Second)
	}
	if out.Last.IsZero() {
		out.Last = out.First
	}
	return out
}

// containerAt reads "spec.containers{app}".
func containerAt(path string) string {
	_, name, _ := strings.Cut(path, "{")
	return strings.TrimSuffix(name, "}")
}
