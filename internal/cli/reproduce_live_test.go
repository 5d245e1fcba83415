package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/reproduce"
)

// reproduceEnv names the file that the table is written to. Without it the test
// is skipped: it provokes every OOM of the corpus again.
const reproduceEnv = "OOMLAB_REPRODUCE"

// partly are the reports of the corpus that can't be reproduced wholly, and what
// differs.
var partly = map[string]string{
	"besteffort-slice": "domain: ", // a scenario limits no QoS class as a whole
	"neck-and-neck":    "margin: ",
}

// virtual finds out on which kernel a report of the corpus was provoked in a
// virtual machine.
var virtual = regexp.MustCompile(`on Linux (\d+\.\d+)\S* in a virtual machine of \d+ MiB, cgroup v(\d)`)

func TestReproduceTheCorpus(t *testing.T) {
	table := os.Getenv(reproduceEnv)
	if table == "" {
		t.Skip("runs for minutes as root: make reproduce")
	}
	files, err := filepath.Glob("../reproduce/testdata/*.txtar")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d reports: %v", len(files), err)
	}
	rows := []string{"| report | ran out | here | scale | processes | outcome |", "|---|---|---|---|---|---|"}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) { rows = append(rows, reproduceOne(t, name, file)) })
	}
	if err := os.WriteFile(table, []byte(strings.Join(rows, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reproduceOne returns the row of the table.
func reproduceOne(t *testing.T, name, file string) string {
	log, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	args, here := []string{"reproduce", file, "-o", "json"}, "cgroup lab"
	if m := virtual.FindSubmatch(log); m != nil {
		args = append(args, "--lab", "vm", "--kernel", string(m[1]), "--cgroup", string(m[2]), "--seed", "0")
		here = fmt.Sprintf("vm, %s, v%s, seed 0", m[1], m[2])
	}
	var stdout, stderr bytes.Buffer
	Main(args, &stdout, &stderr)
	var got struct {
		reproduce.Attempt
		reproduce.Result
	}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	outcome, differs := string(got.Outcome), []string{}
	for _, p := range got.Points {
		if p.Same != nil && !*p.Same {
			differs = append(differs, p.Name+": "+p.Text)
		}
	}
	if len(differs) > 0 {
		outcome += ": " + strings.Join(differs, "; ")
	}
	want := reproduce.Reproduced
	if partly[name] != "" {
		want = reproduce.Partly
	}
	if got.Outcome != want || !strings.Contains(outcome, partly[name]) {
		t.Errorf("%s, want %s %s\n%s", outcome, want, partly[name], stderr.String())
	}
	return fmt.Sprintf("| %s | %s, %s | %s | %s | %d | %s |", name, got.Level, mem.Bytes(float64(got.Limit)/got.Scale).Human(), here,
		reproduce.ScaleText(got.Scale), len(got.Roles), outcome)
}
