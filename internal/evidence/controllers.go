package evidence

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// EnableControllers hands every controller that a cgroup v2 has on to the
// cgroups below. dir is its directory; it must have no processes, unless it is
// the root.
func EnableControllers(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("enable controllers: %w", err)
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("enable the %s controller: %w", c, err)
		}
	}
	return nil
}
