package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSettings(t *testing.T) {
	got, err := ParseSettings([]byte(`{"kubeletconfig":{"evictionHard":{"memory.available":"400Mi","nodefs.available":"0%"},
		"singleProcessOOMKill":true,"enforceNodeAllocatable":["pods"],"memorySwap":{},"maxPods":110}}`))
	want := map[string]string{
		"evictionHard.memory.available": "400Mi", "evictionHard.nodefs.available": "0%",
		"singleProcessOOMKill": "true", "enforceNodeAllocatable": "[pods]",
	}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %s", err, cmp.Diff(want, got))
	}
	for _, bad := range []string{"", "{}", `{"kubeletconfig":{}}`, "Forbidden"} {
		if got, err := ParseSettings([]byte(bad)); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}
