package eviction

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oomlab/oomlab/internal/mem"
)

const mi, gi = mem.MiB, mem.GiB

func TestThresholds(t *testing.T) {
	type m = map[string]string
	hard := func(s Signal, v Value) Threshold { return Threshold{Signal: s, Value: v} }
	both := func(v Value) []Threshold {
		return []Threshold{hard(MemoryAvailable, v), hard(AllocatableMemoryAvailable, v)}
	}
	soft := Threshold{Signal: MemoryAvailable, Value: Value{Bytes: gi}, Soft: true, GracePeriod: time.Minute}
	for name, tc := range map[string]struct {
		config Config
		want   []Threshold
	}{
		"default":                      {Config{}, both(Value{Bytes: 100 * mi})},
		"kubepods not enforced":        {Config{PodsNotEnforced: true}, []Threshold{hard(MemoryAvailable, Value{Bytes: 100 * mi})}},
		"own value":                    {Config{Hard: m{"memory.available": "200Mi"}}, both(Value{Bytes: 200 * mi})},
		"share":                        {Config{Hard: m{"memory.available": "5%"}}, both(Value{Share: 0.05})},
		"empty map switches it off":    {Config{Hard: m{}}, nil},
		"kind's settings":              {Config{Hard: m{"nodefs.available": "0%", "imagefs.available": "0%"}}, nil},
		"0% is off":                    {Config{Hard: m{"memory.available": "0%"}}, nil},
		"100% is off":                  {Config{Hard: m{"memory.available": "100%"}}, nil},
		"merged":                       {Config{Version: 33, MergeDefaults: true, Hard: m{"nodefs.available": "1%"}}, both(Value{Bytes: 100 * mi})},
		"merged, own value":            {Config{Version: 33, MergeDefaults: true, Hard: m{"memory.available": "1Gi"}}, both(Value{Bytes: gi})},
		"no merging in 1.32":           {Config{Version: 32, MergeDefaults: true, Hard: m{"nodefs.available": "1%"}}, nil},
		"soft is not copied":           {Config{Hard: m{}, Soft: m{"memory.available": "1Gi"}, SoftGracePeriod: map[string]time.Duration{"memory.available": time.Minute}}, []Threshold{soft}},
		"own threshold of allocatable": {Config{Hard: m{"allocatableMemory.available": "1Gi"}}, []Threshold{hard(AllocatableMemoryAvailable, Value{Bytes: gi})}},
		"minimum reclaim": {Config{PodsNotEnforced: true, MinimumReclaim: m{"memory.available": "64Mi"}},
			[]Threshold{{Signal: MemoryAvailable, Value: Value{Bytes: 100 * mi}, MinReclaim: Value{Bytes: 64 * mi}}}},
	} {
		got, err := tc.config.Thresholds()
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, -want +got:\n%s", name, err, diff)
		}
	}
}

func TestThresholdErrors(t *testing.T) {
	type m = map[string]string
	for want, c := range map[string]Config{
		"not an amount of memory":                     {Hard: m{"memory.available": "lots"}},
		"want a percentage from 0% to 100%":           {Hard: m{"memory.available": "101%"}},
		"\"x%\": want a percentage":                   {Hard: m{"memory.available": "x%"}},
		"\"NaN%\": want a percentage":                 {Hard: m{"memory.available": "NaN%"}},
		"a threshold must be positive":                {Hard: m{"memory.available": "0"}},
		"needs a positive evictionSoftGracePeriod":    {Soft: m{"memory.available": "1Gi"}},
		"evictionMinimumReclaim: \"-1\": not an amou": {MinimumReclaim: m{"memory.available": "-1"}},
	} {
		if _, err := c.Thresholds(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	_, err := Config{
		Hard: m{"memory.available": "?"}, Soft: m{"memory.available": "?"}, MinimumReclaim: m{"memory.available": "?"},
	}.Thresholds()
	if n := strings.Count(err.Error(), "not an amount"); n != 4 || !errors.Is(err, mem.ErrQuantity) {
		t.Errorf("want all four bad quantities at once, got:\n%v", err)
	}
}

func TestValueOfCapacity(t *testing.T) {
	// 0.05 in 32 bits is a little more than in 64: 5% of 1000 GiB is 50 GiB and
	// 800 bytes for the kubelet.
	v, err := ParseValue("5%")
	if got := v.Of(1000 * gi); err != nil || got != 53687092000 {
		t.Errorf("5%% of 1000Gi = %d, %v; want 53687092000", int64(got), err)
	}
	if got := (Value{Bytes: mi}).Of(gi); got != mi {
		t.Errorf("1Mi of 1Gi = %s", got)
	}
}

func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"100Mi", "5%", "0%", "100%", "NaN%", "-1%", "1e9%", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseValue(s)
		if err == nil && (v.Bytes < 0 || !(v.Share >= 0 && v.Share <= 1) || v.Bytes != 0 && v.Share != 0) {
			t.Errorf("ParseValue(%q) = %+v", s, v)
		}
	})
}
