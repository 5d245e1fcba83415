package kubestate

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
)

// server is an API server that answers these paths with these bodies, and
// forbids all others.
func server(t *testing.T, bodies map[string]string) (kubeconfig string) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, ok := bodies[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			body = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"` + r.URL.Path + ` is forbidden"}`
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	authority := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	kubeconfig = filepath.Join(t.TempDir(), "config")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"clusters":[{"name":"c","cluster":{"server":"` + s.URL + `","certificate-authority-data":"` + authority + `"}}],"users":[{"name":"u","user":{"token":"secret"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

var lists = map[string]string{
	"/api/v1/pods":   `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"web","namespace":"shop","uid":"u1"},"spec":{"nodeName":"n1"}}]}`,
	"/api/v1/nodes":  `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"n1"},"status":{"capacity":{"memory":"2Gi"},"nodeInfo":{"containerRuntimeVersion":"containerd://2.3.4"}}}]}`,
	"/api/v1/events": `{"kind":"EventList","apiVersion":"v1","items":[{"involvedObject":{"kind":"Node","name":"n1"},"reason":"SystemOOM","count":2}]}`,
}

func TestFromCluster(t *testing.T) {
	s, err := FromCluster(context.Background(), server(t, lists))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 1 || s.Pods[0].Name != "web" || s.Capacity["n1"] != 2*mem.GiB || s.Runtime["n1"] != "containerd://2.3.4" ||
		len(s.Events) != 1 || s.Events[0].Reason != "SystemOOM" || s.Events[0].Count != 2 || len(s.Refused) != 0 {
		t.Errorf("%+v", s)
	}
}

// Who may read only pods gets these, and is told what is lacking.
func TestFromClusterWithoutRights(t *testing.T) {
	s, err := FromCluster(context.Background(), server(t, map[string]string{"/api/v1/pods": lists["/api/v1/pods"]}))
	if err != nil || len(s.Pods) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := strings.Join(s.Refused, "\n"); !strings.Contains(got, "the nodes: /api/v1/nodes is forbidden") || !strings.Contains(got, "the events: ") {
		t.Errorf("refused %q", got)
	}
}

func TestFromClusterFails(t *testing.T) {
	broken := map[string]string{"/api/v1/pods": lists["/api/v1/pods"], "/api/v1/nodes": lists["/api/v1/nodes"], "/api/v1/events": "{"}
	damaged := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(damaged, []byte("clusters: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tt := range map[string]struct{ kubeconfig, want string }{
		"no rights":      {server(t, nil), "list the pods of https://127.0.0.1"},
		"broken answer":  {server(t, broken), "list the events of https://127.0.0.1"},
		"no kubeconfig":  {filepath.Join(t.TempDir(), "none"), "read kubeconfig"},
		"bad kubeconfig": {damaged, "read kubeconfig"},
	} {
		if s, err := FromCluster(context.Background(), tt.kubeconfig); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, error %v, want one with %q", name, s, err, tt.want)
		}
	}
	if s, err := FromCluster(ended, server(t, lists)); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("out of time: %+v, error %v", s, err)
	}
}
