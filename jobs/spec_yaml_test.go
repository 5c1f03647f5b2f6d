package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/batchrun/batchrun/examples"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestLoad(t *testing.T) {
	got, said, err := Load("job.yaml", []byte(`
# A comment.
input:
  - a.jsonl
  - "b c.jsonl"
output: 'out.parquet'
model: us.amazon.nova-lite-v1:0
http-version: 1.1
concurrency: 0x10
tpm: 2_000_000
rpm: 60.0
burndown: 1.5
first-token-timeout: 1m30s
drain: 1ms
max-buffer: 64MiB
strict: true
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Input, want.Output, want.Model, want.HTTPVersion = []string{"a.jsonl", "b c.jsonl"}, "out.parquet", "us.amazon.nova-lite-v1:0", "1.1"
	want.Concurrency, want.TPM, want.RPM, want.Burndown = 16, 2_000_000, 60, 1.5
	want.FirstTokenTimeout, want.Drain, want.MaxBuffer, want.Strict = 90*time.Second, time.Millisecond, 64<<20, true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
	if !said["strict"] || said["region"] || len(said) != 12 {
		t.Errorf("said = %v", said)
	}
}

// Every way to be wrong is told with its place, all of them in one go.
func TestLoadFaults(t *testing.T) {
	tests := map[string]struct{ doc, want string }{
		"empty":               {"", ""},
		"only a comment":      {"# later\n", ""},
		"only a header":       {"---\n", ""},
		"null":                {"null\n", ""},
		"a byte order mark":   {"\ufeffmodel: m\n", ""},
		"Windows line ends":   {"model: m\r\nconcurrency: 0\r\n", `j:2:14: concurrency: expected a whole number from 1 to 10000, not "0"`},
		"not a mapping":       {"- a\n", "j:1:1: expected settings, such as model: ID, not a list"},
		"a word":              {"hello\n", `j:1:1: expected settings, such as model: ID, not "hello"`},
		"an unknown key":      {"modle: m\n", `j:1:1: unknown key "modle": did you mean model?`},
		"snake case":          {"a: 1\nmax_tokens: 5\n", "j:1:1: unknown key \"a\": batchrun schema lists them\nj:2:1: unknown key \"max_tokens\": did you mean max-tokens?"},
		"a short flag":        {"m: nova\n", `j:1:1: unknown key "m": did you mean model?`},
		"a key given twice":   {"model: a\nmodel: b\n", "j:2:1: model: given twice"},
		"nothing for a value": {"region:\n", "j:1:9: region: expected a Region, such as us-east-1, not nothing"},
		"an empty text":       {"region: ''\n", `j:1:9: region: expected a Region, such as us-east-1, not ""`},
		"a number for a text": {"profile: 12\n", "j:1:10: profile: expected the name of a profile, not the number 12"},
		"a text for a number": {"rpm: '12'\n", `j:1:6: rpm: expected a whole number of at least 0, not "12"`},
		"half a number":       {"rpm: 1.5\n", `j:1:6: rpm: expected a whole number of at least 0, not "1.5"`},
		"infinity":            {"burndown: .inf\n", "j:1:11: burndown: expected a number from 0 to 1000, not the number .inf"},
		"not a number":        {"burndown: .nan\n", "j:1:11: burndown: expected a number from 0 to 1000, not the number .nan"},
		"yes for true":        {"strict: yes\n", `j:1:9: strict: expected true or false, not "yes"`},
		"no unit":             {"timeout: 30\n", "j:1:10: timeout: expected a duration with its unit such as 30s, above 0 and up to 8760h, not the number 30"},
		"no such unit":        {"timeout: 30 seconds\n", `j:1:10: timeout: expected a duration with its unit such as 30s, above 0 and up to 8760h, not "30 seconds"`},
		"half a byte":         {"max-buffer: 0.5\n", "j:1:13: max-buffer: expected a number of bytes such as 64MiB, from 1 to 1048576GiB, not the number 0.5"},
		"a flag only":         {"fresh: true\n", "j:1:1: fresh: only a flag: in a job file it would put aside what every earlier night has paid for; give --fresh when you mean it"},
		"a list for a text":   {"model: [a]\n", "j:1:8: model: expected a model id, an inference profile or an ARN, not a list"},
		"an empty list":       {"input: []\n", "j:1:8: input: expected a path, or a list of paths, not an empty list"},
		"a list in a list":    {"input: [a, [b]]\n", "j:1:12: input: expected a path, or a list of paths, not a list"},
		"an anchor":           {"model: &m nova\n", "j:1:8: model: expected a model id, an inference profile or an ARN, not an anchor or alias: write the value out"},
		"a tag":               {"model: !!str nova\n", "j:1:8: model: expected a model id, an inference profile or an ARN, not a value with a tag: leave the tag out"},
		"merging":             {"<<: {model: a}\n", "j:1:1: merging (<<) is not for job files: write the settings out"},
		"a second document":   {"model: a\n---\nmodel: b\n", "j:3:6: a second document: a job file holds one job"},
		"not YAML":            {"model: [a\n", "j:1:8: not YAML: sequence end token ']' not found"},
		"a tab":               {"model:\n\tnova\n", "j:2:1: not YAML: found character '\\t' that cannot start any token"},
		"not text":            {"model: \xff\n", "j:1:1: not UTF-8"},
		"too long":            {"# " + strings.Repeat("x", 64<<10), "j:1:1: larger than 64KiB: not a job file"},
		"too deep":            {strings.Repeat("[", 20_000), "j:1:10001: too much for a job file"},
		"all in the order of lines": {"concurrency: 0\nregion: US\nno: 1\n", `j:1:14: concurrency: expected a whole number from 1 to 10000, not "0"` + "\n" +
			`j:2:9: region: expected a Region, such as us-east-1, not "US"` + "\n" + `j:3:1: unknown key "no": batchrun schema lists them`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := Load("j", []byte(tt.doc))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Load(%.100q):\n%s\nwant\n%s", tt.doc, got, tt.want)
			}
		})
	}
}

func TestSpecErrorIsAskedByType(t *testing.T) {
	_, _, err := Load("job.yaml", []byte("rpm: x\ntpm: y\n"))
	spec, ok := errors.AsType[*SpecError](err)
	if !ok {
		t.Fatalf("%T is not a *SpecError", err)
	}
	want := Fault{File: "job.yaml", Line: 2, Column: 6, Key: "tpm", Message: `expected a whole number of at least 0, not "y"`}
	if diff := cmp.Diff(want, spec.Faults[1]); diff != "" {
		t.Errorf("fault (-want +got):\n%s", diff)
	}
}

func compileSchema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("job.schema.json", doc); err != nil {
		tb.Fatal(err)
	}
	schema, err := c.Compile("job.schema.json")
	if err != nil {
		tb.Fatal(err)
	}
	return schema
}

// bySchema says what an editor with the schema would say of a job file.
func bySchema(schema *jsonschema.Schema, doc []byte) error {
	var v any
	if err := yaml.Unmarshal(doc, &v); err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func TestSchemaTakesTheExample(t *testing.T) {
	if err := bySchema(compileSchema(t), examples.Nightly); err != nil {
		t.Errorf("examples/nightly.yaml: %v", err)
	}
	s, _, err := Load("nightly.yaml", examples.Nightly)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Errorf("examples/nightly.yaml: %v", err)
	}
}

// An editor with the schema and the program say the same of a document.
func TestSchemaAgreesWithLoad(t *testing.T) {
	good := []string{
		"", "model: a\n", "input: a\n", "input: [a, b]\n", "http-version: 2\n", "http-version: '2'\n", "http-version: 1.1\n",
		"http-version: 2.0\n", "concurrency: 10000\n", "concurrency: 32.0\n", "rpm: 0\n", "burndown: 2.5\n", "timeout: 1h2m3.5s\n",
		"drain: .5m\n", "max-buffer: 1000\n", "max-buffer: 1.5GB\n", "strict: false\n", "format: parquet\n", "rows: lean\n", "rows: openai\n", "template: 'Q: {{.q}}'\n", "template: |\n  Q: {{.q}}\n  A:\n",
		"metrics-addr: 127.0.0.1:9\n", "endpoint-url: http://[::1]:80/a\n", "model: arn:aws:bedrock:us-east-1:1:provisioned-model/abc\n",
		"output: über uns.jsonl\n", "idle-timeout: 5µs\n", "burndown: 0\n",
	}
	bad := []string{
		"modle: a\n", "fresh: true\n", "retry-failed: false\n", "model: 1\n", "model: ''\n", "model: a b\n", "model:\n", "input: []\n", "input: [1]\n",
		"input: ['']\n", "input: {a: b}\n", "http-version: 3\n", "concurrency: 0\n", "concurrency: 10001\n", "concurrency: 1.5\n",
		"concurrency: '8'\n", "concurrency: true\n", "rpm: -1\n", "burndown: -0.1\n", "burndown: 1001\n", "timeout: 5\n", "drain: 0s\n", "drain: 0\n", "timeout: 0s\n", "timeout: 0h0.0m\n",
		"timeout: '0'\n", "timeout: -5s\n", "timeout: +5s\n", "timeout: 5 s\n", "timeout: s\n", "max-buffer: 0\n", "max-buffer: 0MiB\n", "max-buffer: 1TB\n", "max-buffer: -1\n",
		"max-buffer: 1.5\n", "strict: 'true'\n", "strict: 1\n", "format: csv\n", "rows: ''\n", "progress: loud\n", "metrics-addr: 0.0.0.0:9\n", "metrics-addr: ':9'\n",
		"endpoint-url: ftp://a\n", "endpoint-url: a\n", "region: US\n", "output: \"a\\tb\"\n", "- a\n", "5\n", "text\n", "family: Claude 3\n",
	}
	schema := compileSchema(t)
	for _, doc := range good {
		if _, _, err := Load("j", []byte(doc)); err != nil {
			t.Errorf("Load(%q): %v", doc, err)
		}
		if err := bySchema(schema, []byte(doc)); err != nil {
			t.Errorf("schema of %q: %v", doc, err)
		}
	}
	for _, doc := range bad {
		if _, _, err := Load("j", []byte(doc)); err == nil {
			t.Errorf("Load(%q): no error", doc)
		}
		if err := bySchema(schema, []byte(doc)); err == nil {
			t.Errorf("schema of %q: no error", doc)
		}
	}
}

// Whatever a job file holds, Load does not panic, its faults have places, and the schema takes what it took.
func FuzzLoad(f *testing.F) {
	f.Add(examples.Nightly)
	for _, doc := range []string{
		"", "a: [b", "input: &a [*a]\n", "<<: *x\n", "? a\n: b\n", "model: |\n  x\n", "timeout: 1h\nmax-buffer: 1.5GiB\n", "--- !!map {}\n...\n---\n",
		"http-version: 1.1\r\nrpm: 0x1F\r\n", "\ufeff'model': \"a\\u0041\"\n", "burndown: 1e2\nrpm: 1_0\ndrain: 0s\n",
	} {
		f.Add([]byte(doc))
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		spec, _, err := Load("job.yaml", doc)
		if err == nil {
			doc = bytes.TrimPrefix(doc, []byte("\ufeff")) // which only the YAML library's decoder keeps
			if err := bySchema(schema, doc); err != nil {
				t.Errorf("Load takes what the schema does not: %v", err)
			}
			_ = spec.Validate()
			return
		}
		faults, ok := errors.AsType[*SpecError](err)
		if !ok || len(faults.Faults) == 0 {
			t.Fatalf("%T with %v", err, err)
		}
		for _, fault := range faults.Faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Message == "" || strings.ContainsFunc(fault.String(), unicode.IsControl) {
				t.Errorf("fault %#v", fault)
			}
		}
	})
}
