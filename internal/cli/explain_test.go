package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/explain"
)

const tmpfsLog = "../oomreport/testdata/tmpfs.txtar"

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	quiet := file("quiet.log", "[    1.000000] all is well\n")
	hostile := file("hostile.log", "[    1.000000] \x1b[2Jevil\x07 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"+
		"[    1.100000] Memory cgroup out of memory: Killed process 5 (\x1bcred) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB\n")
	pods := file("pods.json", `{"kind":"Pod","metadata":{"name":"a"}}`)
	for _, tt := range []struct {
		name string
		args []string
		want []string // in stdout and stderr
		not  string
		code int
	}{
		{name: "text", args: []string{tmpfsLog}, want: []string{
			"report 1", "chosen  1     peer/29048", "report 2", "mapped by nobody in the table", "the model agrees with the kernel", "10240/1000",
		}},
		{name: "pods", args: []string{tmpfsLog, "--pods", pods}, want: []string{"report 1"}},
		{name: "hostile", args: []string{hostile}, want: []string{"killed ·cred/5"}, not: "\x1b"},
		{name: "no report", args: []string{quiet}, code: exitUnfinished, want: []string{"no OOM report in it"}},
		{name: "no file", args: []string{filepath.Join(dir, "none")}, code: exitUsage, want: []string{"no such file"}},
		{name: "no pods", args: []string{tmpfsLog, "--pods", quiet}, code: exitUsage, want: []string{"read objects"}},
		{name: "both", args: []string{tmpfsLog, "--pods", pods, "--kubeconfig", pods}, code: exitUsage, want: []string{"give one of them"}},
		{name: "sizes", args: []string{tmpfsLog, "--node-memory", "much", "--log-kernel", "six"}, code: exitUsage, want: []string{"--node-memory", "--log-kernel"}},
		{name: "format", args: []string{tmpfsLog, "-o", "xml"}, code: exitUsage, want: []string{"want table or json"}},
	} {
		var out bytes.Buffer
		if code := Main(append([]string{"explain"}, tt.args...), &out, &out); code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.name, code, tt.code)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in\n%s", tt.name, want, out.String())
			}
		}
		if tt.not != "" && strings.Contains(out.String(), tt.not) {
			t.Errorf("%s: %q is in the output", tt.name, tt.not)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Main([]string{"explain", tmpfsLog, "-o", "json"}, &out, &errs); code != exitPass {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var e explain.Explanation
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Victim.Name)
	}
	if strings.Join(got, " ") != "peer writer" {
		t.Errorf("victims %q", got)
	}
}

// A cluster is asked for names, and for how its containers ended.
func TestExplainACluster(t *testing.T) {
	const uid = "c0ffee00-0000-4000-8000-000000000001"
	lists := map[string]string{
		"/api/v1/pods": `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"web","namespace":"shop","uid":"` + uid + `"},
			"spec":{"nodeName":"n1","containers":[{"name":"app"}]},"status":{"containerStatuses":[{"name":"app","lastState":{"terminated":
			{"reason":"OOMKilled","exitCode":137,"containerID":"containerd://aaa"}}}]}}]}`,
		"/api/v1/nodes":  `{"kind":"NodeList","apiVersion":"v1"}`,
		"/api/v1/events": `{"kind":"EventList","apiVersion":"v1"}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, lists[r.URL.Path])
	}))
	defer server.Close()
	kubeconfig, log := filepath.Join(t.TempDir(), "config"), filepath.Join(t.TempDir(), "log")
	for path, text := range map[string]string{
		kubeconfig: `{"current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}]}`,
		log: "[  100.000007] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods/pod" + uid +
			",task_memcg=/kubepods/pod" + uid + "/aaa,task=python,pid=201,uid=0\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"explain", "--kubeconfig", kubeconfig}, "container shop/web/app, on n1: OOMKilled, exit code 137"},
		{[]string{"explain", log, "--kubeconfig", kubeconfig}, "chose python/201, in container app of the Guaranteed pod shop/web"},
	} {
		var out bytes.Buffer
		if code := Main(tt.args, &out, &out); code != exitPass || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q: exit code %d, want %q in\n%s", tt.args, code, tt.want, out.String())
		}
	}
}
