package nodeimage

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oomlab/oomlab/internal/cache"
)

// engine is an engine of maps.
type engine struct {
	has, pullable map[string]bool
	pulled        []string
}

func (e *engine) HasImage(_ context.Context, ref string) (bool, error) { return e.has[ref], nil }

func (e *engine) Load(context.Context, string) error { return errors.New("unexpected load") }

func (e *engine) Pull(_ context.Context, ref string) error {
	e.pulled = append(e.pulled, ref)
	if !e.pullable[ref] {
		return errors.New("no such host")
	}
	return nil
}

func TestEnsureUsesWhatIsThere(t *testing.T) {
	published := "docker.io/kindest/node:" + DefaultKubernetes
	older := Recipe{Kubelet: "v1.36.3"}
	for name, test := range map[string]struct {
		options Options
		has     []string
		want    string
	}{
		"given":                   {Options{Ref: "example.com/mine:1"}, []string{"example.com/mine:1", published}, "example.com/mine:1"},
		"published first":         {Options{}, []string{published, Recipe{}.Ref()}, published},
		"built":                   {Options{}, []string{Recipe{}.Ref()}, Recipe{}.Ref()},
		"built on demand":         {Options{Build: true}, []string{published, Recipe{}.Ref()}, Recipe{}.Ref()},
		"kind has no older mixes": {Options{Recipe: older}, []string{published, older.Ref()}, older.Ref()},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{has: map[string]bool{}}
			for _, ref := range test.has {
				e.has[ref] = true
			}
			ref, err := Ensure(t.Context(), e, test.options)
			if ref != test.want || err != nil || e.pulled != nil {
				t.Errorf("Ensure = %s, %v, pulled %v, want %s", ref, err, e.pulled, test.want)
			}
		})
	}
}

func TestEnsurePullsTheGivenImage(t *testing.T) {
	e := &engine{pullable: map[string]bool{"example.com/mine:1": true}}
	var out strings.Builder
	ref, err := Ensure(t.Context(), e, Options{Ref: "example.com/mine:1", Progress: &out})
	if ref != "example.com/mine:1" || err != nil || out.String() != "pulling example.com/mine:1\n" {
		t.Errorf("Ensure = %s, %v, said %q", ref, err, out.String())
	}
	_, err = Ensure(t.Context(), e, Options{Ref: "example.com/gone:1"})
	if err == nil || !strings.Contains(err.Error(), "example.com/gone:1 is not present and can't be pulled") {
		t.Errorf("err = %v, want one that names the image", err)
	}
}

func TestEnsureRefusesWhatCannotBeBuilt(t *testing.T) {
	e := &engine{}
	if _, err := Ensure(t.Context(), e, Options{Recipe: Recipe{Kubernetes: "v1.20.0"}}); err == nil || e.pulled != nil {
		t.Errorf("err = %v, pulled %v, want an error at once", err, e.pulled)
	}
}

func TestList(t *testing.T) {
	t.Setenv(cache.Env, t.TempDir())
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	var built []Built
	for i, version := range []string{"v1.36.3", "v1.37.2", "v1.35.4"} {
		r := Recipe{Kubernetes: version}.WithDefaults()
		b := Built{Ref: r.Ref(), Recipe: r, SizeBytes: 1 << 20, BuiltAt: day.AddDate(0, 0, i)}
		if err := record(b); err != nil {
			t.Fatal(err)
		}
		built = append(built, b)
	}
	e := &engine{has: map[string]bool{built[0].Ref: true, built[1].Ref: true}}
	got, err := List(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Built{built[1], built[0]}, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}

	dir, err := cache.Dir(recordsDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/broken.json", []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := List(t.Context(), e); err == nil || len(got) != 2 {
		t.Errorf("List with a broken record = %d images, %v, want 2 and an error", len(got), err)
	}
}

func TestReason(t *testing.T) {
	if got := reason(errors.New("Get \"https://x/v2/\": dial tcp: lookup x: no such host")); got != "no such host" {
		t.Errorf("reason = %q", got)
	}
	if got := reason(context.DeadlineExceeded); got != "no answer within 5s" {
		t.Errorf("reason = %q", got)
	}
}
