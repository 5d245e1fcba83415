package record_test

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/oom"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
	"github.com/oomlab/oomlab/scenarios"
)

var update = flag.Bool("update", false, "write docs/record.schema.json")

// The schema in the docs is that of the types, with their comments.
func TestSchema(t *testing.T) {
	t.Chdir("../..")
	r := jsonschema.Reflector{AllowAdditionalProperties: true, Mapper: asWritten}
	for _, dir := range []string{"internal/record", "internal/oom", "internal/oomreport", "internal/qos", "scenarios"} {
		if err := r.AddGoComments("github.com/oomlab/oomlab", dir); err != nil {
			t.Fatal(err)
		}
	}
	schema := r.Reflect(&record.Record{})
	schema.ID = record.Schema
	got, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const file = "docs/record.schema.json"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not that of the types; go test ./internal/record -update writes it:\n%s", file, diff)
	}
}

// asWritten has the schemas of what is written otherwise than its fields are.
func asWritten(t reflect.Type) *jsonschema.Schema {
	text := func(description string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Description: description}
	}
	switch t {
	case reflect.TypeFor[mem.Limit]():
		return &jsonschema.Schema{Description: `bytes, "max" for no limit, null where there is no such file`}
	case reflect.TypeFor[qos.Version](), reflect.TypeFor[oom.Version]():
		return text("a version, such as 1.37 or 6.12.95")
	case reflect.TypeFor[scenarios.Memory]():
		return text("memory, such as 512Mi")
	case reflect.TypeFor[scenarios.CPU]():
		return text("processors, such as 500m")
	case reflect.TypeFor[scenarios.Duration]():
		return text("a duration, such as 1m30s")
	}
	return nil
}
