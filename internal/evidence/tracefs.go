package evidence

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// WithTracefs calls look with the directory of a tracefs that is mounted where
// nobody else sees it: the machine's own may be absent, and is never touched.
// The mount is gone when WithTracefs returns. It needs root.
func WithTracefs(look func(dir string) error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The runtime can't end the first thread, and /proc/self is that
			// thread's view: its mounts must stay as they are. While this
			// goroutine occupies it, another one gets another thread.
			defer runtime.UnlockOSThread()
			done <- WithTracefs(look)
			return
		}
		// The thread is never unlocked: the runtime ends it with the goroutine,
		// and its private mounts with it.
		done <- lookInPrivate(look)
	}()
	return <-done
}

func lookInPrivate(look func(dir string) error) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a private mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const dir = "/sys/kernel" // exists everywhere, and is hidden from this thread alone
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		return fmt.Errorf("mount tracefs: %w", err)
	}
	return look(dir)
}
