package kindlab

import (
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// Without patience kubeadm's own limits hold; with it, each is longer.
func TestKubeadmTimeoutsAreItsOwnTimesPatience(t *testing.T) {
	patches := patientKubeadm()
	for i, kind := range []string{"InitConfiguration", "JoinConfiguration"} {
		var patch struct {
			Kind     string
			Timeouts map[string]string
		}
		if err := yaml.UnmarshalStrict([]byte(patches[i]), &patch); err != nil {
			t.Fatalf("%v\n%s", err, patches[i])
		}
		if patch.Kind != kind {
			t.Errorf("patch %d is for %q", i, patch.Kind)
		}
		for name, want := range map[string]time.Duration{
			"controlPlaneComponentHealthCheck": 4 * time.Minute, "kubeletHealthCheck": 4 * time.Minute,
			"kubernetesAPICall": time.Minute, "etcdAPICall": 2 * time.Minute,
			"tlsBootstrap": 5 * time.Minute, "discovery": 5 * time.Minute,
		} {
			if got, err := time.ParseDuration(patch.Timeouts[name]); err != nil || got != want {
				t.Errorf("%s: %s is %q, %v", kind, name, patch.Timeouts[name], err)
			}
		}
	}
}
