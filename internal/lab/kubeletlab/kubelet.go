package kubeletlab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/oomlab/oomlab/internal/lab/kubelet"
	"github.com/oomlab/oomlab/internal/patience"
	"github.com/oomlab/oomlab/internal/proc"
)

// kubeletProcess is the running kubelet, and the way to ask it.
type kubeletProcess struct {
	*proc.Daemon
	started time.Time
	url     string
	client  *http.Client
}

const (
	kubeletURL = "https://127.0.0.1:10250"
	manifests  = "/etc/kubernetes/manifests"
)

// kubeletBase is what a kubelet without an API server needs, whatever the
// scenario asks for. Whoever can reach it, in this machine, may ask it anything.
// Limits of CPU time are not carried out: a Guaranteed pod has to have one, and
// where instructions are translated it would take many times as long as others
// for the same.
const kubeletBase = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cpuCFSQuota: false
cgroupRoot: ` + nodeCgroup + `
containerRuntimeEndpoint: unix://` + containerdSocket + `
failSwapOn: false
healthzPort: 0
makeIPTablesUtilChains: false
resolvConf: ""
staticPodPath: ` + manifests + `
tlsCertFile: ` + workDir + `/kubelet.crt
tlsPrivateKeyFile: ` + workDir + `/kubelet.key
`

// startKubelet starts the kubelet where containerd is, and waits until it
// answers.
func (n *node) startKubelet(ctx context.Context) error {
	config, err := kubelet.Configure([]byte(kubeletBase), n.scenario.Node)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(workDir, "kubelet.yaml"), config, 0o644); err != nil {
		return fmt.Errorf("configure the kubelet: %w", err)
	}
	if err := kubelet.WriteMeminfo(workDir, n.config.Capacity, n.config.SwapCapacity); err != nil {
		return err
	}
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		return fmt.Errorf("configure the kubelet: %w", err)
	}
	bind := proc.Command(ctx, "nsenter", n.mountNamespace(), "mount", "--bind", filepath.Join(workDir, "meminfo"), "/proc/meminfo")
	if err := proc.Run(bind); err != nil {
		return fmt.Errorf("give the kubelet a node of %s: %w", n.config.Capacity, err)
	}
	n.kubelet = &kubeletProcess{url: kubeletURL}
	if n.kubelet.client, err = makeCertificate(workDir); err != nil {
		return err
	}
	if err := n.runKubelet(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience.With(daemonTimeout))
	defer cancel()
	return n.kubelet.Await(ctx, func() error { _, err := n.kubelet.get(ctx, "/healthz"); return err })
}

func (n *node) mountNamespace() string {
	return fmt.Sprintf("--mount=/proc/%d/ns/mnt", n.containerd.PID)
}

// runKubelet starts the kubelet's process.
func (n *node) runKubelet() error {
	//nolint:noctx // Close ends it
	cmd := exec.Command("nsenter", n.mountNamespace(), "kubelet",
		"--config="+filepath.Join(workDir, "kubelet.yaml"), "--hostname-override="+nodeName)
	release, err := n.amongDaemons(cmd)
	if err != nil {
		return err
	}
	n.kubelet.started = time.Now()
	n.kubelet.Daemon, err = proc.StartDaemon(cmd, filepath.Join(workDir, "kubelet.log"))
	return errors.Join(err, release())
}

// makeCertificate writes DIR/kubelet.crt and kubelet.key, and returns a client
// that trusts nobody else. The kubelet would make an RSA key itself, which takes
// seconds where instructions are translated.
func makeCertificate(dir string) (*http.Client, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the kubelet's certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: nodeName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the kubelet's certificate: %w", err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the kubelet's certificate: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, data := range map[string][]byte{"kubelet.crt": text, "kubelet.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("write the kubelet's certificate: %w", err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, nil
}

// get asks the kubelet.
func (k *kubeletProcess) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet for %s: %w", path, err)
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the kubelet for %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the kubelet for %s: %s: %s", path, response.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// pods returns all that the kubelet runs, with their states.
func (k *kubeletProcess) pods(ctx context.Context) ([]corev1.Pod, error) {
	raw, err := k.get(ctx, "/pods")
	if err != nil {
		return nil, err
	}
	var list corev1.PodList
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("read the kubelet's pods: %w", err)
	}
	return list.Items, nil
}

// What the daemons say of themselves when they start.
var (
	kubeletVersion    = regexp.MustCompile(`"Kubelet version" kubeletVersion="(v[^"]+)"`)
	containerdVersion = regexp.MustCompile(`msg="starting containerd" .*version=v?(\S+)`)
	osName            = regexp.MustCompile(`(?m)^PRETTY_NAME="?([^"\n]+)"?$`)
)

// versions returns what runs here, by its own words.
func (n *node) versions() (map[string]string, error) {
	versions := map[string]string{}
	for name, from := range map[string]struct {
		file    string
		pattern *regexp.Regexp
	}{
		"kubelet": {n.kubelet.Log, kubeletVersion}, "containerd": {n.containerd.Log, containerdVersion}, "os": {"/etc/os-release", osName},
	} {
		text, err := os.ReadFile(from.file)
		if err != nil {
			return nil, fmt.Errorf("find the version of %s: %w", name, err)
		}
		match := from.pattern.FindSubmatch(text)
		if match == nil {
			return nil, fmt.Errorf("find the version of %s: %s does not tell it", name, from.file)
		}
		versions[name] = string(match[1])
	}
	return versions, nil
}
