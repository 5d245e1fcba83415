package kubeletlab

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/oomlab/oomlab/internal/evidence"
	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/proc"
	"github.com/oomlab/oomlab/internal/run"
	"github.com/oomlab/oomlab/scenarios"
)

// What static pods can't do is said before anything is started.
func TestLacking(t *testing.T) {
	for name, want := range map[string]string{
		"qos-order": "", "group-kill": "", "back-off-cap": "", "static-pod": "", "memory-qos": "", "kubelet-restart": "",
		"qos-order-machine":  "a machine that is the node",
		"limited-swap":       "none of those swap",
		"eviction-orderly":   "evicts none",
		"static-not-evicted": "evicts none",
		"job-backoff":        "carries out a Job",
	} {
		s, err := scenarios.Named(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := lacking(s); got != "" != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	s, err := scenarios.Named("limited-swap")
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Options{Name: "vm"}).Prepare(t.Context(), s)
	if unsupported := new(run.UnsupportedError); !errors.As(err, &unsupported) {
		t.Errorf("%v, want that it is unsupported", err)
	}
}

// Without systemd containerd makes cgroups itself, and nothing else changes.
func TestContainerdConfig(t *testing.T) {
	const kind = "version = 2\n  base_runtime_spec = \"/etc/containerd/cri-base.json\"\n    SystemdCgroup = true\n  sandbox_image = \"pause\"\n"
	if got, want := string(containerdConfig([]byte(kind))), "version = 2\n    SystemdCgroup = false\n  sandbox_image = \"pause\"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The scenario's settings are added to what a kubelet without an API server needs.
func TestKubeletBase(t *testing.T) {
	s, err := scenarios.Named("back-off-cap")
	if err != nil {
		t.Fatal(err)
	}
	text, err := kubelet.Configure([]byte(kubeletBase), s.Node)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		CgroupRoot       string            `json:"cgroupRoot"`
		StaticPodPath    string            `json:"staticPodPath"`
		ResolvConf       *string           `json:"resolvConf"`
		SystemReserved   map[string]string `json:"systemReserved"`
		CrashLoopBackOff map[string]string `json:"crashLoopBackOff"`
	}
	if err := yaml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.CgroupRoot != nodeCgroup || got.StaticPodPath != manifests || got.ResolvConf == nil || *got.ResolvConf != "" ||
		got.SystemReserved["memory"] != "512Mi" || got.CrashLoopBackOff["maxContainerRestartPeriod"] != "2s" {
		t.Errorf("%+v of\n%s", got, text)
	}
}

// The versions are those that the daemons log.
func TestVersions(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"kubelet":    `I1127 10:07:57.1 191 server.go:555] "Kubelet version" kubeletVersion="v1.37.2"` + "\n",
		"containerd": `time="2026-11-27T10:07:45Z" level=info msg="starting containerd" revision= version=v2.4.2` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := &node{
		containerd: &proc.Daemon{Log: filepath.Join(dir, "containerd")},
		kubelet:    &kubeletProcess{Daemon: &proc.Daemon{Log: filepath.Join(dir, "kubelet")}},
	}
	got, err := n.versions()
	if err != nil {
		t.Fatal(err)
	}
	delete(got, "os") // this machine's
	if diff := cmp.Diff(map[string]string{"kubelet": "v1.37.2", "containerd": "2.4.2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	n.kubelet.Log = filepath.Join(dir, "containerd")
	if _, err := n.versions(); err == nil || !strings.Contains(err.Error(), "kubelet") {
		t.Errorf("%v, want that the kubelet's is not told", err)
	}
}

// The client takes the kubelet's answers, and nobody else's.
func TestGet(t *testing.T) {
	dir := t.TempDir()
	client, err := makeCertificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "kubelet.crt"), filepath.Join(dir, "kubelet.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/pods":
			_, _ = w.Write([]byte(`{"items":[{"metadata":{"name":"best-effort-node","annotations":{"kubernetes.io/config.hash":"c0ffee"}},"spec":{"nodeName":"node"}}]}`))
		default:
			http.Error(w, "no such thing", http.StatusNotFound)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the stranger below
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	defer server.Close()
	k := &kubeletProcess{url: server.URL, client: client}
	n := &node{kubelet: k, owners: kubelet.NewOwners(nodeCgroup)}
	pods, err := n.Pods(t.Context())
	if err != nil || len(pods) != 1 || pods[0].Name != "best-effort" || pods[0].UID != "c0ffee" {
		t.Errorf("%+v, %v", pods, err)
	}
	if owner := n.Owner(nodeCgroup + "/kubepods/besteffort/podc0ffee"); owner.Pod != "best-effort" {
		t.Errorf("the pod's cgroup is %+v", owner)
	}
	if _, err := k.get(t.Context(), "/nothing"); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("%v, want the kubelet's words", err)
	}
	other, err := makeCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k.client = other
	if _, err := k.get(t.Context(), "/pods"); err == nil {
		t.Error("a stranger's answer was taken")
	}
}

// Each pod is one file, whole, and uses the machine's network.
func TestCreate(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n := &node{lab: New(Options{Image: "image"}), manifests: dir}
	w, _ := s.Workload("guaranteed")
	if err := n.Create(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "guaranteed.yaml" {
		t.Fatalf("%v, %v", entries, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "guaranteed.yaml"))
	if err != nil || !strings.Contains(string(text), "hostNetwork: true") || !strings.Contains(string(text), "kind: Pod") {
		t.Errorf("%s (%v)", text, err)
	}
}

func TestMakeCgroups(t *testing.T) {
	s, err := scenarios.Named("qos-order")
	if err != nil {
		t.Fatal(err)
	}
	mount := t.TempDir() // a directory in place of the hierarchy
	n := &node{scenario: s, hierarchy: evidence.Hierarchy{Version: 2, Mount: mount}}
	n.config.Capacity = s.Node.Memory.Bytes
	if err := os.MkdirAll(filepath.Join(mount, nodeCgroup), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mount, nodeCgroup, "cgroup.controllers"), []byte("cpu memory"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"cgroup.subtree_control", "memory.max"} {
		if err := os.WriteFile(filepath.Join(mount, nodeCgroup, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.makeCgroups(); err != nil {
		t.Fatal(err)
	}
	limit, err := os.ReadFile(filepath.Join(mount, nodeCgroup, "memory.max"))
	if err != nil || string(limit) != "1610612736" {
		t.Errorf("limit %q, %v", limit, err)
	}
	if _, err := os.Stat(filepath.Join(mount, daemonsCgroup)); err != nil {
		t.Error(err)
	}
}
