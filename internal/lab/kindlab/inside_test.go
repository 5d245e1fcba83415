package kindlab

import (
	"errors"
	"testing"
)

func TestIsKubeletBack(t *testing.T) {
	for text, want := range map[string]bool{
		"error dialing backend: dial tcp 10.89.0.3:10250: connect: connection refused":                               false,
		"unable to upgrade streaming request: websocket: bad handshake (404 Not Found): pod does not exist":          false,
		"unable to upgrade streaming request: websocket: bad handshake (404 Not Found): container not found (\"a\")": true,
	} {
		if got := isKubeletBack(errors.New(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if !isKubeletBack(nil) {
		t.Error("an answer comes from a kubelet that is back")
	}
}
