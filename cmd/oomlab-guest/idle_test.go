package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// The program that keeps a machine's processor from halting runs until it is
// ended, and never waits.
func TestIdleProgram(t *testing.T) {
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("its instructions are those of x86-64, as are the vm lab's machines")
	}
	path := filepath.Join(t.TempDir(), "idle")
	if err := os.WriteFile(path, idleProgram(), 0o755); err != nil {
		t.Fatal(err)
	}
	idle := exec.Command(path)
	if err := idle.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = idle.Wait(); close(ended) }()
	select {
	case <-ended:
		t.Fatalf("it ended by itself: %s", idle.ProcessState)
	case <-time.After(time.Second):
	}
	if err := idle.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if idle.ProcessState.UserTime() == 0 {
		t.Error("it used nothing of the processor: it waits")
	}
}
