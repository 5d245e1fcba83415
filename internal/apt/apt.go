// Package apt installs missing packages on Debian and Ubuntu. It is the only
// place where oomlab changes the machine it runs on, so it says what it does
// before doing it, and can be told not to: OOMLAB_NO_INSTALL=1. An Archive only
// fetches packages, into a directory of its own.
package apt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// NoInstallEnv is the environment variable that forbids installing: any value
// but "" and "0".
const NoInstallEnv = "OOMLAB_NO_INSTALL"

// ErrRefused is wrapped by Ensure where packages are missing and may not, or
// cannot, be installed from here. The error's text names the command to run.
var ErrRefused = errors.New("packages are missing")

// Ensure installs those of packages that are not installed and tells out about
// it. It returns an error wrapping ErrRefused where the user forbade it, is not
// root, or the machine has no apt.
func Ensure(ctx context.Context, out io.Writer, packages ...string) error {
	forbidden := ""
	if v := os.Getenv(NoInstallEnv); v != "" && v != "0" {
		forbidden = NoInstallEnv + " is set"
	}
	return thisHost(forbidden).ensure(ctx, out, packages)
}

// Check is Ensure without installing anything: where packages are missing its
// error wraps ErrRefused.
func Check(ctx context.Context, packages ...string) error {
	return thisHost("nothing is installed by a check").ensure(ctx, io.Discard, packages)
}

// host is what Ensure asks of the machine; tests replace it.
type host struct {
	forbidden string // why nothing may be installed, or ""
	root      bool
	look      func(name string) bool
	run       func(ctx context.Context, argv ...string) (string, error)
}

func thisHost(forbidden string) host {
	return host{
		forbidden: forbidden,
		root:      os.Geteuid() == 0,
		look:      func(name string) bool { _, err := exec.LookPath(name); return err == nil },
		run:       run,
	}
}

func (h host) ensure(ctx context.Context, out io.Writer, packages []string) error {
	hasApt := h.look("dpkg-query") && h.look("apt-get")
	missing := packages
	if hasApt {
		// dpkg-query fails as soon as one package is unknown to it, yet lists the
		// others: what it printed decides, not how it exited.
		listed, _ := h.run(ctx, append([]string{"dpkg-query", "-W", "-f", queryFormat}, packages...)...)
		missing = notInstalled(packages, listed)
	}
	if len(missing) == 0 {
		return nil
	}
	names := strings.Join(missing, " ")
	command := "apt-get install --no-install-recommends " + names
	switch {
	case !hasApt:
		return fmt.Errorf("%w: %s: this is neither Debian nor Ubuntu: install them with its own package manager", ErrRefused, names)
	case h.forbidden != "":
		return fmt.Errorf("%w: %s: run: %s", ErrRefused, h.forbidden, command)
	case !h.root:
		return fmt.Errorf("%w: only root can install them: run: sudo %s", ErrRefused, command)
	}
	_, _ = fmt.Fprintf(out, "installing %s (not on this machine yet; %s=1 forbids it)\n", names, NoInstallEnv)
	return h.install(ctx, missing)
}

// install tries with the package lists as they are, because updating them takes
// longer than installing; lists that are absent or stale make it fail at once.
func (h host) install(ctx context.Context, packages []string) error {
	argv := append([]string{
		"apt-get", "install", "--yes", "--quiet", "--no-install-recommends",
		// Another apt-get may be at work, a machine's own upgrade for example.
		"-o", "DPkg::Lock::Timeout=300",
	}, packages...)
	if _, err := h.run(ctx, argv...); err == nil || ctx.Err() != nil {
		return err
	}
	_, updateErr := h.run(ctx, "apt-get", "update", "--quiet")
	if _, err := h.run(ctx, argv...); err != nil {
		return errors.Join(fmt.Errorf("install %s: %w", strings.Join(packages, " "), err), updateErr)
	}
	return nil
}

const queryFormat = `${Package} ${db:Status-Abbrev}\n`

// notInstalled returns the packages that dpkg-query, asked with queryFormat,
// does not list as installed ("ii", or "hi" for one on hold).
func notInstalled(packages []string, listed string) []string {
	installed := map[string]bool{}
	for line := range strings.Lines(listed) {
		f := strings.Fields(line)
		if len(f) == 2 && (f[1] == "ii" || f[1] == "hi") {
			installed[f[0]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(packages), func(p string) bool { return installed[p] })
}

// run runs a command and returns what it printed. A cancelled context
// interrupts instead of killing: dpkg must not stop halfway through a package.
func run(ctx context.Context, argv ...string) (string, error) { return runIn(ctx, "", argv...) }

// runIn is run in a directory.
func runIn(ctx context.Context, dir string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	output, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, lastLines(string(output), 5))
	}
	return string(output), err
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
