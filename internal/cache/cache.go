// Package cache keeps what oomlab builds between runs: one directory tree, in
// which an entry is either complete or absent, and file locks that keep two
// oomlabs from building the same entry at once.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Env names the variable that moves the cache away from the user's cache
// directory.
const Env = "OOMLAB_CACHE"

// lockPoll is how often a waiting Lock tries again: flock(2) has no form that
// a context could interrupt.
const lockPoll = 100 * time.Millisecond

// Dir returns the directory elem... of the cache, and creates it. The cache is
// $OOMLAB_CACHE, or oomlab in the user's cache directory.
func Dir(elem ...string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(append([]string{root}, elem...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create cache directory: %w (set %s to a directory you may write)", err, Env)
	}
	return dir, nil
}

func root() (string, error) {
	if dir := os.Getenv(Env); dir != "" {
		return filepath.Abs(dir)
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w (set %s)", err, Env)
	}
	return filepath.Join(user, "oomlab"), nil
}

// Lock takes the named lock of this cache, which one process holds at a time,
// and returns what gives it back. Where it has to wait it says so once on out.
// The kernel frees the lock of a process that dies.
func Lock(ctx context.Context, out io.Writer, name string) (unlock func(), err error) {
	dir, err := Dir("locks")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, strings.ReplaceAll(name, string(filepath.Separator), "-")+".lock")
	for waiting := false; ; waiting = true {
		unlock, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return unlock, err
		}
		if !waiting {
			_, _ = fmt.Fprintf(out, "waiting for another oomlab that works on %s\n", name)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock of %s: %w", name, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

// ErrLocked says that another process, or another call, holds a lock.
var ErrLocked = errors.New("in use by another oomlab")

// TryLock locks the file at path, which it makes, or returns ErrLocked at once.
// The lock is held until unlock is called, or nobody refers to unlock any more.
func TryLock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() { _ = file.Close() }, nil
	}
	_ = file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, fmt.Errorf("%s is %w", path, ErrLocked)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// Once returns the directory elem... of the cache, and calls fill to make it
// when it is absent. fill gets an empty directory beside the final one, which
// takes the final name only after fill succeeded: an interrupted fill leaves
// no entry, and its remains are removed by the next one. Of several processes
// that ask for one entry at once, one fills it and the others wait.
func Once(ctx context.Context, out io.Writer, fill func(dir string) error, elem ...string) (string, error) {
	name := filepath.Join(elem...)
	parent, err := Dir(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(parent, filepath.Base(name))
	if exists(dir) {
		return dir, nil
	}
	unlock, err := Lock(ctx, out, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(dir) { // somebody filled it while we waited
		return dir, nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("remove remains of an interrupted build: %w", err)
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return "", err
	}
	if err := fill(partial); err != nil {
		return "", errors.Join(err, os.RemoveAll(partial))
	}
	return dir, os.Rename(partial, dir)
}

func exists(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}
