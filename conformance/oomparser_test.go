//go:build !v1_34 && !v1_35 && !v1_36

package conformance

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/oomlab/oomlab/internal/explain"
	"github.com/oomlab/oomlab/internal/oomreport"
	"k8s.io/kubernetes/third_party/forked/cadvisor/oomparser"
	"k8s.io/kubernetes/third_party/forked/go-kmsg-parser/kmsgparser"
)

var logSize = flag.Int64("logsize", 32<<20, "bytes of the kernel log that the parsers of OOM reports read")

// parserEnv names the parser that a child of this test is, and its log.
const parserEnv = "OOMLAB_PARSER"

// parsers read a log and return the processes killed, "name/pid" each. Nothing
// is what this test's program takes by itself.
var parsers = map[string]func(*testing.T, io.Reader) []string{
	"oomlab": ours, "cadvisor": cadvisors, "nothing": func(*testing.T, io.Reader) []string { return nil },
}

// TestParsers reads a log with ten reports among other lines with oomlab and
// with cAdvisor's parser, which the kubelet has a copy of: both have to name the
// same processes. Each runs in a process of its own, of which time and peak
// memory are shown:
//
//	go test -mod=mod -run TestParsers -v -logsize 1073741824 .
func TestParsers(t *testing.T) {
	if name, path, child := strings.Cut(os.Getenv(parserEnv), ":"); child {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Println("KILLED", strings.Join(parsers[name](t, f), " "))
		status, err := os.ReadFile("/proc/self/status") // getrusage tells the parent's peak, too
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(status))
		return
	}
	path := filepath.Join(t.TempDir(), "log")
	writeLog(t, path, *logSize)
	killed := map[string]string{}
	for name := range parsers {
		cmd := exec.Command(os.Args[0], "-test.run=^TestParsers$")
		cmd.Env = append(os.Environ(), parserEnv+"="+name+":"+path)
		start := time.Now()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		took := time.Since(start)
		peak := ""
		for line := range strings.Lines(string(out)) {
			if rest, ok := strings.CutPrefix(line, "KILLED "); ok {
				killed[name] = strings.TrimSpace(rest)
			}
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				peak = strings.TrimSpace(rest)
			}
		}
		t.Logf("%-8s %7.2f s, %6.0f MB/s, %s at most, %d reports", name, took.Seconds(),
			float64(*logSize)/1e6/took.Seconds(), peak, len(strings.Fields(killed[name])))
	}
	if killed["oomlab"] != killed["cadvisor"] || len(strings.Fields(killed["oomlab"])) != 10 {
		t.Errorf("oomlab names %q, cAdvisor %q", killed["oomlab"], killed["cadvisor"])
	}
}

// ours explains the reports as well.
func ours(t *testing.T, log io.Reader) (killed []string) {
	var x explain.Explainer
	s := oomreport.NewScanner(log)
	for s.Scan() {
		if e := x.Explain(s.Report()); e.Victim != nil {
			killed = append(killed, e.Victim.Process.String())
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return killed
}

// cadvisors gives cAdvisor's parser the lines of a file in place of the records
// of /dev/kmsg, which is all that it reads.
func cadvisors(_ *testing.T, log io.Reader) (killed []string) {
	p := new(oomparser.OomParser)
	*(*kmsgparser.Parser)(unsafe.Pointer(p)) = lines{log} // its only field
	instances := make(chan *oomparser.OomInstance)
	go func() {
		p.StreamOoms(context.Background(), instances)
		close(instances)
	}()
	for i := range instances {
		killed = append(killed, fmt.Sprintf("%s/%d", i.ProcessName, i.Pid))
	}
	return killed
}

// lines is a kmsgparser.Parser that takes nothing but printk's time off.
type lines struct{ log io.Reader }

func (lines) SeekEnd() error { return nil }
func (lines) Close() error   { return nil }

func (l lines) Parse(messages chan<- kmsgparser.Message) error {
	defer close(messages)
	s := bufio.NewScanner(l.log)
	for s.Scan() {
		_, text, _ := strings.Cut(s.Text(), "] ")
		messages <- kmsgparser.Message{Message: text}
	}
	return s.Err()
}

// writeLog writes a log of about so many bytes with ten reports in it.
func writeLog(t *testing.T, path string, size int64) {
	t.Helper()
	archive, err := os.ReadFile("../internal/reproduce/testdata/many-small.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, report, ok := bytes.Cut(archive, []byte("\n-- kmsg --\n"))
	end := bytes.Index(report, []byte(" oom_score_adj:")) // of the first kill
	end += bytes.IndexByte(report[max(end, 0):], '\n') + 1
	if !ok || end <= 0 {
		t.Fatal("the report has another form than this test knows")
	}
	report = report[:end]
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	const reports = 10
	written, line := int64(0), 0
	for i := range int64(reports + 1) {
		for written < size*(i+1)/(reports+1) {
			n, _ := fmt.Fprintf(w, "[%5d.%06d] %s\n", line/1000, line%1000*1000, other[line%len(other)])
			written, line = written+int64(n), line+1
		}
		if i < reports {
			n, _ := w.Write(report)
			written += int64(n)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// other are lines of a kernel's log that have nothing to do with memory.
var other = []string{
	"IPv6: ADDRCONF(NETDEV_CHANGE): veth3a1b2c4: link becomes ready",
	"cni0: port 7(veth3a1b2c4) entered forwarding state",
	"audit: type=1400 audit(1764219670.123:4711): apparmor=\"DENIED\" operation=\"open\" profile=\"cri-containerd.apparmor.d\" name=\"/proc/1/oom_score\" pid=81234 comm=\"probe\" requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0",
	"EXT4-fs (nvme1n1): mounted filesystem with ordered data mode. Quota mode: none.",
	"TCP: request_sock_TCP: Possible SYN flooding on port 8080. Sending cookies.",
	"device veth3a1b2c4 left promiscuous mode",
}
