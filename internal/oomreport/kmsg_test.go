package oomreport

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseKmsg(t *testing.T) {
	got, ok := ParseKmsg("6,4711,81502113,-;Killed process 12 (caf\\xc3\\xa9)\n SUBSYSTEM=memory\n")
	want := Record{Text: "Killed process 12 (café)"}
	want.Seq, want.Uptime = 4711, 81502113*time.Microsecond
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%v (-want +got):\n%s", ok, diff)
	}
	if got, ok := ParseKmsg("12,1,1,-;from a daemon"); !ok || !got.Userspace {
		t.Errorf("facility 1 is userspace: %+v, %v", got, ok)
	}
	for _, raw := range []string{"", "6,1;x", "6,1,2,-", "x,1,2,-;t", "6,x,2,-;t", "6,1,x,-;t"} {
		if got, ok := ParseKmsg(raw); ok {
			t.Errorf("ParseKmsg(%q) = %+v, want false", raw, got)
		}
	}
}

func FuzzParseKmsg(f *testing.F) {
	f.Add("6,4711,81502113,-;text\\x0a\n K=V\n")
	f.Fuzz(func(t *testing.T, raw string) { ParseKmsg(raw) })
}
