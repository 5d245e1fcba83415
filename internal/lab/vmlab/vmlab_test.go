package vmlab

import (
	"strings"
	"testing"

	"github.com/oomlab/oomlab/scenarios"
)

// Page cache needs a disk, which only a machine with a kubelet has. That is said
// before a machine is started.
func TestRefuse(t *testing.T) {
	for name, refused := range map[string]bool{"page-cache": true, "thrash-no-kill": true, "qos-order": false, "tmpfs-writer": false} {
		s, err := scenarios.Named(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := refuse(s); (err != nil) != refused || refused && !strings.Contains(err.Error(), "container reader of reader") {
			t.Errorf("%s: %v", name, err)
		}
		if !refused {
			continue
		}
		if _, err := Run(t.Context(), s, Options{CgroupVersion: 2}); err == nil || !strings.Contains(err.Error(), "add --kubelet") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
