package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestDir(t *testing.T) {
	root := t.TempDir()
	t.Setenv(Env, root)
	dir, err := Dir("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, "a", "b"); dir != want {
		t.Errorf("Dir = %s, want %s", dir, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("Stat = %v, %v, want a directory of mode 0755", info, err)
	}
}

func TestOnceFillsOnce(t *testing.T) {
	t.Setenv(Env, t.TempDir())
	var fills atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			dir, err := Once(t.Context(), io.Discard, func(dir string) error {
				fills.Add(1)
				time.Sleep(10 * time.Millisecond) // let the others run into the lock
				return os.WriteFile(filepath.Join(dir, "file"), []byte("whole"), 0o644)
			}, "part", "key")
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(filepath.Join(dir, "file")); string(text) != "whole" {
				t.Errorf("entry holds %q, %v", text, err)
			}
		})
	}
	group.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("filled %d times, want once", n)
	}
}

func TestOnceLeavesNoEntryAfterFailure(t *testing.T) {
	t.Setenv(Env, t.TempDir())
	broken := errors.New("broken")
	if _, err := Once(t.Context(), io.Discard, func(string) error { return broken }, "key"); !errors.Is(err, broken) {
		t.Fatalf("err = %v, want %v", err, broken)
	}
	root, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	if remains, _ := filepath.Glob(filepath.Join(root, "key*")); len(remains) > 0 {
		t.Errorf("a failed fill left %v", remains)
	}
	// What a killed process left must not leak into the next attempt.
	if err := os.MkdirAll(filepath.Join(root, "key.partial", "stale"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := Once(t.Context(), io.Discard, func(string) error { return nil }, "key")
	if err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(dir, "stale")) {
		t.Error("the entry holds remains of an interrupted fill")
	}
}

func TestLockSaysWhatItWaitsFor(t *testing.T) {
	t.Setenv(Env, t.TempDir())
	unlock, err := Lock(t.Context(), io.Discard, "image")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	var out strings.Builder
	if _, err := Lock(ctx, &out, "image"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v, want a deadline", err)
	}
	if n := strings.Count(out.String(), "works on image\n"); n != 1 {
		t.Errorf("said %q, want one line", out.String())
	}
	unlock()
	again, err := Lock(t.Context(), io.Discard, "image")
	if err != nil {
		t.Fatalf("a freed lock can't be taken: %v", err)
	}
	again()
}

func TestTryLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in-use")
	unlock, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v, want %v", err, ErrLocked)
	}
	unlock()
	again, err := TryLock(path)
	if err != nil {
		t.Fatalf("after it was given back: %v", err)
	}
	again()
}
