package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/forecast"
)

// machine makes predictions the same everywhere.
var machine = []string{"--kernel=6.18.44", "--kubelet=v1.37.2", "--host-memory=24Gi", "--cgroup=1", "--cpus=2"}

func TestPredict(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string // in stdout and stderr
		code int
	}{
		{args: []string{"qos-order"}, want: []string{
			"qos-order: BestEffort dies first", "/node/kubepods runs out, 1Gi",
			"dies  best-effort  352.8Mi  1000", "dies  burstable", "then: as many kills as asked for",
		}},
		{args: []string{"eviction-orderly"}, want: []string{"allocatableMemory.available is", "goes  leak", "If the kubelet did not act"}},
		{args: []string{"control-inverted-order"}, code: exitFail, want: []string{"CONTRADICTION killed: the scenario expects burstable, best-effort"}},
		{args: []string{"qos-order", "--kernel=six"}, code: exitUsage, want: []string{"--kernel"}},
		{args: []string{"qos-order", "--kubelet=2"}, code: exitUsage, want: []string{"--kubelet"}},
		{args: []string{"qos-order", "--cgroup=3"}, code: exitUsage, want: []string{"--cgroup 3"}},
		{args: []string{"qos-order", "--lowest-adj=-1001"}, code: exitUsage, want: []string{"--lowest-adj"}},
		{args: []string{"no-such-scenario"}, code: exitUsage, want: []string{"neither a file nor in the catalog"}},
	} {
		var out bytes.Buffer
		args := append(append([]string{"predict"}, machine...), tt.args...)
		if code := Main(args, &out, &out); code != tt.code {
			t.Errorf("%v: exit code %d, want %d", tt.args, code, tt.code)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: %q is not in\n%s", tt.args, want, out.String())
			}
		}
	}
}

func TestPredictJSON(t *testing.T) {
	var out, stderr bytes.Buffer
	if code := Main(append([]string{"predict", "qos-order", "-o", "json"}, machine...), &out, &stderr); code != exitPass {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	var f forecast.Forecast
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Kernel.Steps) != 2 || f.Owners[f.Kernel.Steps[0].Victim].Workload != "best-effort" {
		t.Errorf("forecast %+v", f.Kernel)
	}
}
