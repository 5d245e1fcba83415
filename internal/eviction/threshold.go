// Package eviction is the kubelet's answer to a node that runs out of memory:
// when its thresholds are met, in which order it ranks the pods, and which pod
// it evicts, for kubelets 1.27 to 1.37 (pkg/kubelet/eviction).
//
// It races with the kernel's OOM killer, which package oom models: the kubelet
// looks every ten seconds, counts page cache that is in use, ranks pods rather
// than processes, and never looks at oom_score_adj.
package eviction

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
)

// Signal is what a threshold compares with.
type Signal string

// The signals of memory.
const (
	// MemoryAvailable is the node's memory less its working set.
	MemoryAvailable Signal = "memory.available"
	// AllocatableMemoryAvailable is the limit of kubepods less its working set.
	AllocatableMemoryAvailable Signal = "allocatableMemory.available"
)

// DefaultHard is the hard threshold of memory.available where the kubelet's
// configuration has no evictionHard at all (pkg/kubelet/eviction, Linux).
const DefaultHard = "100Mi"

// Value is an amount of memory or a share of the signal's capacity.
type Value struct {
	Bytes mem.Bytes `json:"bytes,omitempty"`
	// Share is 0 to 1; the kubelet keeps it in 32 bits.
	Share float32 `json:"share,omitempty"`
}

// ParseValue reads a quantity ("100Mi") or a percentage ("5%"), at least zero.
func ParseValue(s string) (Value, error) {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(percent, 32)
		if err != nil || !(p >= 0 && p <= 100) {
			return Value{}, fmt.Errorf("%q: want a percentage from 0%% to 100%%", s)
		}
		return Value{Share: float32(p) / 100}, nil
	}
	b, err := mem.ParseBytes(s)
	return Value{Bytes: b}, err
}

// Of returns the amount, for a signal of the given capacity
// (GetThresholdQuantity, pkg/kubelet/eviction/api).
func (v Value) Of(capacity mem.Bytes) mem.Bytes {
	if v.Share != 0 {
		return mem.Bytes(float64(capacity) * float64(v.Share))
	}
	return v.Bytes
}

// Threshold is one line of the kubelet's eviction settings.
type Threshold struct {
	Signal Signal `json:"signal"`
	Value  Value  `json:"value"`
	// Soft thresholds are acted on once they were met for GracePeriod.
	Soft        bool          `json:"soft,omitempty"`
	GracePeriod time.Duration `json:"gracePeriodNanoseconds,omitempty"`
	// MinReclaim is added to Value once the threshold was met, until that much
	// is available.
	MinReclaim Value `json:"minReclaim,omitzero"`
}

// Config is the eviction part of a KubeletConfiguration. Keys are signals as
// written there; those that are not about memory are ignored.
type Config struct {
	Version qos.Version `json:"kubeletVersion"`
	// Hard is evictionHard. Nil is the default, memory.available<100Mi; any map,
	// even an empty one, replaces the default unless MergeDefaults is set.
	Hard map[string]string `json:"evictionHard,omitempty"`
	// MergeDefaults is mergeDefaultEvictionSettings (1.33+).
	MergeDefaults   bool                     `json:"mergeDefaultEvictionSettings,omitempty"`
	Soft            map[string]string        `json:"evictionSoft,omitempty"`
	SoftGracePeriod map[string]time.Duration `json:"evictionSoftGracePeriodNanoseconds,omitempty"`
	MinimumReclaim  map[string]string        `json:"evictionMinimumReclaim,omitempty"`
	// MaxPodGracePeriod is evictionMaxPodGracePeriod, for soft thresholds.
	MaxPodGracePeriod time.Duration `json:"evictionMaxPodGracePeriodNanoseconds,omitempty"`
	// PodsNotEnforced says that enforceNodeAllocatable lacks "pods": then
	// nothing watches kubepods.
	PodsNotEnforced bool `json:"podsNotEnforced,omitempty"`
}

// Thresholds returns the thresholds about memory that the settings amount to,
// with the kubelet's own copy of each hard memory.available for kubepods
// (ParseThresholdConfig). It returns every error of the settings at once.
func (c Config) Thresholds() ([]Threshold, error) {
	hard := c.Hard
	if hard == nil {
		hard = map[string]string{string(MemoryAvailable): DefaultHard}
	} else if _, set := hard[string(MemoryAvailable)]; !set && c.MergeDefaults && c.Version >= 33 {
		hard = maps.Clone(hard)
		hard[string(MemoryAvailable)] = DefaultHard
	}
	var out []Threshold
	var errs []error
	for _, list := range []struct {
		name   string
		values map[string]string
		soft   bool
	}{{"evictionHard", hard, false}, {"evictionSoft", c.Soft, true}} {
		for _, signal := range slices.Sorted(maps.Keys(list.values)) {
			if s := Signal(signal); s == MemoryAvailable || s == AllocatableMemoryAvailable {
				t, on, err := c.threshold(s, list.values[signal], list.soft)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %s: %w", list.name, signal, err))
				} else if on {
					out = append(out, t)
				}
			}
		}
	}
	if !c.PodsNotEnforced {
		for _, t := range slices.Clone(out) {
			if t.Signal == MemoryAvailable && !t.Soft {
				t.Signal = AllocatableMemoryAvailable
				out = append(out, t)
			}
		}
	}
	return out, errors.Join(errs...)
}

func (c Config) threshold(signal Signal, value string, soft bool) (Threshold, bool, error) {
	// The kubelet takes these two texts, and no other spelling, for "off".
	if value == "0%" || value == "100%" {
		return Threshold{}, false, nil
	}
	t := Threshold{Signal: signal, Soft: soft}
	var errs [3]error
	t.Value, errs[0] = ParseValue(value)
	if errs[0] == nil && t.Value.Bytes == 0 && !strings.HasSuffix(value, "%") {
		errs[0] = fmt.Errorf("%q: a threshold must be positive; 0%% switches it off", value)
	}
	if soft {
		t.GracePeriod = c.SoftGracePeriod[string(signal)]
		if t.GracePeriod <= 0 {
			errs[1] = errors.New("a soft threshold needs a positive evictionSoftGracePeriod")
		}
	}
	if reclaim, ok := c.MinimumReclaim[string(signal)]; ok {
		if t.MinReclaim, errs[2] = ParseValue(reclaim); errs[2] != nil {
			errs[2] = fmt.Errorf("evictionMinimumReclaim: %w", errs[2])
		}
	}
	return t, true, errors.Join(errs[:]...)
}
