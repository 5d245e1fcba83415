package eviction

import (
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

// node has 8Gi, of which 7Gi for pods, with so much left of both.
func node(available, allocatable mem.Bytes) Node {
	return Node{
		Capacity:      8 * gi,
		Root:          Usage{Usage: 8*gi - available},
		KubepodsLimit: mem.LimitOf(7 * gi),
		Kubepods:      Usage{Usage: 7*gi - allocatable},
	}
}

// names writes an outcome with the pods that may go: "tie a b".
func names(p Prediction) string {
	out := []string{string(p.Outcome)}
	for _, i := range p.First {
		out = append(out, p.Ranking[i].Name)
	}
	return strings.Join(out, " ")
}

func TestPredict(t *testing.T) {
	pods := []Pod{uses("a", gi, 2*gi), uses("b", 2*gi, 2*gi)}
	critical := with(uses("c", 0, 9*gi), 2e9)
	static := uses("s", 0, 9*gi)
	static.Static = true
	plenty := mem.Bytes(gi)
	soft := Config{Version: 37, Hard: map[string]string{}, Soft: map[string]string{"memory.available": "1Gi"},
		SoftGracePeriod: map[string]time.Duration{"memory.available": time.Minute}}
	reclaim := Config{Version: 37, MinimumReclaim: map[string]string{"memory.available": "50Mi"}}
	met := []Threshold{{Signal: MemoryAvailable, Value: Value{Bytes: 100 * mi}, MinReclaim: Value{Bytes: 50 * mi}}}

	for name, tc := range map[string]struct {
		config Config
		state  State
		want   string
	}{
		"enough":                        {Config{Version: 37}, State{Node: node(plenty, plenty), Pods: pods}, "not-met"},
		"exactly the threshold":         {Config{Version: 37}, State{Node: node(100*mi, plenty), Pods: pods}, "not-met"},
		"one byte less":                 {Config{Version: 37}, State{Node: node(100*mi-1, plenty), Pods: pods}, "evicts a"},
		"kubepods alone":                {Config{Version: 37}, State{Node: node(plenty, 100*mi-1), Pods: pods}, "evicts a"},
		"kubepods not enforced":         {Config{Version: 37, PodsNotEnforced: true}, State{Node: node(plenty, 0), Pods: pods}, "not-met"},
		"more in use than there is":     {Config{Version: 37}, State{Node: node(-gi, plenty), Pods: pods}, "evicts a"},
		"eviction off":                  {Config{Version: 37, Hard: map[string]string{}}, State{Node: node(0, 0), Pods: pods}, "not-met"},
		"no pods":                       {Config{Version: 37}, State{Node: node(0, 0)}, "no-candidate"},
		"exempt are passed over":        {Config{Version: 37}, State{Node: node(0, 0), Pods: append([]Pod{critical, static}, pods...)}, "evicts a"},
		"nobody but exempt":             {Config{Version: 37}, State{Node: node(0, 0), Pods: []Pod{critical, static}}, "no-candidate"},
		"tie":                           {Config{Version: 37}, State{Node: node(0, 0), Pods: append([]Pod{uses("d", 0, gi)}, pods...)}, "tie d a"},
		"exempt is no part of a tie":    {Config{Version: 37}, State{Node: node(0, 0), Pods: []Pod{static, uses("d", 0, 9*gi)}}, "evicts d"},
		"reclaim not asked before":      {reclaim, State{Node: node(149*mi, plenty), Pods: pods}, "not-met"},
		"reclaim asked after":           {reclaim, State{Node: node(149*mi, plenty), Pods: pods, Met: met}, "evicts a"},
		"reclaimed":                     {reclaim, State{Node: node(150*mi, plenty), Pods: pods, Met: met}, "not-met"},
		"reclaim of another threshold":  {reclaim, State{Node: node(plenty, 149*mi), Pods: pods, Met: met}, "not-met"},
		"soft, not for long":            {soft, State{Node: node(gi-1, plenty), Pods: pods, MetFor: time.Minute - 1}, "not-met"},
		"soft, long enough":             {soft, State{Node: node(gi-1, plenty), Pods: pods, MetFor: time.Minute}, "evicts a"},
		"no limit on kubepods observed": {Config{Version: 37}, State{Node: Node{Capacity: 8 * gi, KubepodsLimit: mem.Max}, Pods: pods}, "not-met"},
	} {
		p, err := tc.config.Predict(tc.state)
		if got := names(p); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tc.want)
		}
	}
	if _, err := (Config{}).Predict(State{}); err == nil {
		t.Error("a node without capacity was accepted")
	}
	if _, err := (Config{Hard: map[string]string{"memory.available": "?"}}).Predict(State{Node: node(0, 0)}); err == nil {
		t.Error("a bad threshold was accepted")
	}
}

func TestPredictShowsItsThresholds(t *testing.T) {
	c := Config{Version: 37, Hard: map[string]string{"memory.available": "10%"}, MinimumReclaim: map[string]string{"memory.available": "1Mi"}}
	threshold := Threshold{Signal: MemoryAvailable, Value: Value{Share: 0.1}, MinReclaim: Value{Bytes: mi}}
	p, err := c.Predict(State{Node: node(100*mi, gi), Met: []Threshold{threshold}})
	if err != nil {
		t.Fatal(err)
	}
	want := []MetThreshold{{
		Threshold:   threshold,
		Observation: Observation{Available: 100 * mi, Capacity: 8 * gi},
		Wanted:      858993472 + mi, // 0.1 in 32 bits
	}}
	if diff := gocmp.Diff(want, p.Thresholds); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSignals(t *testing.T) {
	if got := (Usage{Usage: gi, InactiveFile: 2 * gi}).WorkingSet(); got != 0 {
		t.Errorf("more inactive cache than usage: working set %s, want 0", got)
	}
	n := Node{Capacity: 8 * gi, Root: Usage{Usage: 5 * gi, InactiveFile: gi}, HugePages: 3 * gi}
	for v, want := range map[qos.Version]Observation{36: {4 * gi, 8 * gi}, 37: {gi, 5 * gi}} {
		got := Config{Version: v}.observe(n)
		if diff := gocmp.Diff(map[Signal]Observation{MemoryAvailable: want}, got); diff != "" {
			t.Errorf("kubelet %s: -want +got:\n%s", v, diff)
		}
	}
	n.HugePages = 7 * gi
	if got := (Config{Version: 37}).observe(n)[MemoryAvailable].Available; got != 0 {
		t.Errorf("huge pages above what is left: %s available, want 0", got)
	}
}

func TestGrace(t *testing.T) {
	pod := uses("a", 0, gi)
	pod.GracePeriod = 30 * time.Second
	hard := Config{}
	soft := Config{Hard: map[string]string{}, Soft: map[string]string{"memory.available": "1Gi"},
		SoftGracePeriod: map[string]time.Duration{"memory.available": 1}, MaxPodGracePeriod: time.Minute}
	both := soft
	both.Hard = nil
	for name, tc := range map[string]struct {
		config  Config
		version qos.Version
		want    time.Duration
	}{
		"hard":           {hard, 31, time.Second},
		"hard, 1.30":     {hard, 30, 30 * time.Second},
		"soft":           {soft, 32, 30 * time.Second},
		"soft, 1.31":     {soft, 31, time.Minute},
		"hard and soft":  {both, 37, time.Second},
		"hard and, 1.30": {both, 30, 30 * time.Second},
	} {
		tc.config.Version = tc.version
		p, err := tc.config.Predict(State{Node: node(0, 0), Pods: []Pod{pod}, MetFor: time.Hour})
		if err != nil || p.Grace != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, p.Grace, err, tc.want)
		}
	}
}

func TestSequence(t *testing.T) {
	pods := []Pod{uses("under", 4*gi, gi), uses("small", 0, 60*mi), uses("smaller", 0, 50*mi), uses("over", gi, gi+mi)}
	n := node(50*mi, 50*mi)
	for name, tc := range map[string]struct {
		reclaim string
		want    string
	}{
		"until the threshold": {"0", "evicts small, not-met"},
		"until reclaimed":     {"20Mi", "evicts small, evicts smaller, not-met"},
		"smallest excess too": {"200Mi", "evicts small, evicts smaller, evicts over, not-met"},
		"nobody is left":      {"9Gi", "evicts small, evicts smaller, evicts over, evicts under, no-candidate"},
	} {
		c := Config{Version: 37, MinimumReclaim: map[string]string{"memory.available": tc.reclaim}}
		got, err := c.Sequence(State{Node: n, Pods: pods})
		var all []string
		for _, p := range got {
			all = append(all, names(p))
		}
		if s := strings.Join(all, ", "); err != nil || s != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, s, err, tc.want)
		}
	}
	if len(pods) != 4 || pods[1].Name != "small" {
		t.Error("Sequence changed the pods it was given")
	}
	if _, err := (Config{}).Sequence(State{}); err == nil {
		t.Error("a node without capacity was accepted")
	}
}
