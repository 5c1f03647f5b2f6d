package jobs

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// valid is a job with nothing wrong.
func valid() Spec {
	s := Defaults()
	s.Input, s.Output, s.Model = []string{"in.jsonl"}, "out.jsonl", "amazon.nova-lite-v1:0"
	return s
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		edit func(*Spec)
		want []string // how each fault begins; none for a job that is right
	}{
		"defaults and what is required": {func(*Spec) {}, nil},
		"nothing said": {func(s *Spec) { *s = Defaults() }, []string{
			"--model: required", "--output: required",
		}},
		"the zero value": {func(s *Spec) { *s = Spec{} }, []string{
			`--http-version: expected one of 2, 1.1, not ""`,
			"--concurrency: expected a whole number from 1 to 10000, not \"0\"",
			"--max-tokens: expected a whole number of at least 1, not \"0\"",
			"--max-attempts: ", "--retry-budget: ", "--first-token-timeout: ", "--idle-timeout: ", "--timeout: ", "--max-buffer: ",
			"--drain: ", "--commit-interval: ", "--rows: ", "--progress: ", "--model: ", "--output: ",
		}},
		"standard output": {func(s *Spec) { s.Output = "-" }, nil},
		"standard output keeps nothing": {
			func(s *Spec) { s.Output, s.State, s.Fresh, s.RetryFailed = "-", "d", true, true },
			[]string{"--state: does not go", "--fresh: does not go", "--retry-failed: does not go", "--retry-failed: does not go with --fresh"},
		},
		"Parquet to standard output":    {func(s *Spec) { s.Output, s.Format = "-", "parquet" }, []string{"--output: a Parquet file cannot be streamed"}},
		"no format":                     {func(s *Spec) { s.Output = "out" }, []string{`--output: "out" does not tell the format`}},
		"format by flag":                {func(s *Spec) { s.Output, s.Format = "out", "jsonl" }, nil},
		"format against the name":       {func(s *Spec) { s.Format = "parquet" }, []string{`--output: "out.jsonl" is jsonl by its name`}},
		"compressed output":             {func(s *Spec) { s.Output = "out.jsonl.gz" }, []string{"--output: output is not compressed"}},
		"a directory":                   {func(s *Spec) { s.Output = "out/" }, []string{"--output: a directory"}},
		"an object store":               {func(s *Spec) { s.Output = "s3://b/out.jsonl" }, []string{"--output: an object store"}},
		"standard input twice":          {func(s *Spec) { s.Input = []string{"-", "a", "-"} }, []string{"--input: standard input (-) can be read only once"}},
		"an empty input":                {func(s *Spec) { s.Input = []string{""} }, []string{"--input: expected a path"}},
		"output over input":             {func(s *Spec) { s.Output = "./in.jsonl" }, []string{`--input: is the same as --output: "in.jsonl"`}},
		"input reads what it writes":    {func(s *Spec) { s.Input = []string{"*.jsonl"} }, []string{`--input: "*.jsonl" also matches what the run writes, "out.jsonl" (--output)`, `--input: "*.jsonl" also matches what the run writes, "out.errors.jsonl" (--errors)`}},
		"a glob elsewhere":              {func(s *Spec) { s.Input, s.Output = []string{"in/*.jsonl"}, "out/r.jsonl" }, nil},
		"errors over output":            {func(s *Spec) { s.Errors = "out.jsonl" }, []string{`--errors: is the same as --output: "out.jsonl"`}},
		"errors as Parquet":             {func(s *Spec) { s.Errors = "e.parquet" }, []string{"--errors: error rows are always plain JSONL, not .parquet"}},
		"errors to standard output":     {func(s *Spec) { s.Errors = "-" }, []string{"--errors: expected a path"}},
		"fresh and retry-failed":        {func(s *Spec) { s.Fresh, s.RetryFailed = true, true }, []string{"--retry-failed: does not go with --fresh"}},
		"quotas below zero":             {func(s *Spec) { s.RPM, s.TPM, s.TPD, s.Burndown = -1, -1, -1, -1 }, []string{"--rpm: ", "--tpm: ", "--tpd: ", "--burndown: "}},
		"no timeouts":                   {func(s *Spec) { s.IdleTimeout, s.Timeout = 0, -time.Second }, []string{"--idle-timeout: expected a duration with its unit such as 30s, above 0", "--timeout: "}},
		"no drain":                      {func(s *Spec) { s.Drain = 0 }, []string{"--drain: expected a duration"}},
		"a model no URL can hold":       {func(s *Spec) { s.Model = "claude sonnet" }, []string{`--model: expected a model id, an inference profile or an ARN, not "claude sonnet"`}},
		"an ARN":                        {func(s *Spec) { s.Model = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl" }, nil},
		"metrics for everybody":         {func(s *Spec) { s.MetricsAddr = ":9090" }, []string{"--metrics-addr: expected a loopback address"}},
		"metrics at a port beyond":      {func(s *Spec) { s.MetricsAddr = "127.0.0.1:99999" }, []string{"--metrics-addr: expected a loopback address"}},
		"metrics here":                  {func(s *Spec) { s.MetricsAddr = "localhost:9090" }, nil},
		"metrics here, in IPv6":         {func(s *Spec) { s.MetricsAddr = "[::1]:9090" }, nil},
		"an endpoint without a scheme":  {func(s *Spec) { s.EndpointURL = "localhost:8080" }, []string{"--endpoint-url: expected an http or https URL"}},
		"an endpoint with a password":   {func(s *Spec) { s.EndpointURL = "http://a:b@localhost" }, []string{"--endpoint-url: expected a URL without a user"}},
		"an endpoint":                   {func(s *Spec) { s.EndpointURL = "http://127.0.0.1:8080/x" }, nil},
		"a control character in a path": {func(s *Spec) { s.Output = "a\x1b[2J.jsonl" }, []string{`--output: expected a path, not "a\x1b[2J.jsonl"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := valid()
			tt.edit(&s)
			compareFaults(t, s.Validate(), tt.want)
		})
	}
}

// compareFaults expects one line of err to begin with each of want.
func compareFaults(t *testing.T, err error, want []string) {
	t.Helper()
	var got []string
	if err != nil {
		spec, ok := errors.AsType[*SpecError](err)
		if !ok {
			t.Fatalf("%T is not a *SpecError: %v", err, err)
		}
		got = strings.Split(err.Error(), "\n")
		if len(got) != len(spec.Faults) {
			t.Errorf("%d lines for %d faults:\n%v", len(got), len(spec.Faults), err)
		}
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("faults:\n\t%s\nwant lines that begin with\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestPaths(t *testing.T) {
	tests := map[string]struct{ output, errors, state, stem, wantErrors, wantState string }{
		"beside the output":     {"dir/out.jsonl", "", "", "out", "dir/out.errors.jsonl", "dir/out.jsonl.batchrun"},
		"Parquet":               {"out.parquet", "", "", "out", "out.errors.jsonl", "out.parquet.batchrun"},
		"capitals":              {"Out.JSONL", "", "", "Out", "Out.errors.jsonl", "Out.JSONL.batchrun"},
		"compressed":            {"out.jsonl.zst", "", "", "out", "out.errors.jsonl", "out.jsonl.zst.batchrun"},
		"other dots":            {"run.2026.v1", "", "", "run.2026.v1", "run.2026.v1.errors.jsonl", "run.2026.v1.batchrun"},
		"only an extension":     {".jsonl", "", "", ".jsonl", ".jsonl.errors.jsonl", ".jsonl.batchrun"},
		"as said":               {"out.jsonl", "e.jsonl", "s", "out", "e.jsonl", "s"},
		"standard output":       {"-", "", "", "", "", ""},
		"standard output, said": {"-", "e.jsonl", "s", "", "e.jsonl", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := Spec{Output: tt.output, Errors: tt.errors, State: tt.state}
			got := []string{s.Stem(), s.ErrorsPath(), s.StatePath()}
			if diff := cmp.Diff([]string{tt.stem, tt.wantErrors, tt.wantState}, got); diff != "" {
				t.Errorf("stem, errors, state of %+v (-want +got):\n%s", tt, diff)
			}
		})
	}
}

func flagsOf(t *testing.T, s *Spec, args ...string) (*pflag.FlagSet, error) {
	t.Helper()
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	s.Register(fs)
	return fs, fs.Parse(args)
}

func TestFlags(t *testing.T) {
	got := Defaults()
	_, err := flagsOf(t, &got, "-i", "a.jsonl", "--input=b,c.jsonl", "-o", "out.parquet", "-m", "nova", "-c8", "--tpm", "2000000",
		"--burndown=5", "--idle-timeout", "90s", "--max-buffer", "1.5GiB", "--drain", "1ms", "--fresh", "--strict=false",
		"--profile", "", "--http-version", "1.1")
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Input, want.Output, want.Model, want.Concurrency = []string{"a.jsonl", "b,c.jsonl"}, "out.parquet", "nova", 8
	want.TPM, want.Burndown, want.IdleTimeout, want.MaxBuffer = 2_000_000, 5, 90*time.Second, 3<<29
	want.Drain, want.Fresh, want.HTTPVersion = time.Millisecond, true, "1.1"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestFlagsRefused(t *testing.T) {
	tests := map[string]string{
		"--concurrency=0":        `expected a whole number from 1 to 10000`,
		"--concurrency=many":     `expected a whole number from 1 to 10000`,
		"--timeout=30":           `expected a duration with its unit such as 30s, above 0 and up to 8760h`,
		"--timeout=0s":           `above 0`,
		"--timeout=-5s":          `expected a duration`,
		"--drain=9000000000000h": `expected a duration`,
		"--max-buffer=1TB":       `expected a number of bytes such as 64MiB`,
		"--max-buffer=0":         `expected a number of bytes`,
		"--burndown=NaN":         `expected a number from 0 to 1000`,
		"--format=csv":           `expected one of jsonl, parquet`,
		"--rows=":                `expected one of full, lean, bedrock, openai, anthropic, text`,
		"--template={{.q":        `expected a Go template: `,
		"--input=":               `expected a path`,
		"--fresh=maybe":          `expected true or false`,
		"--region=us east":       `expected a Region, such as us-east-1`,
	}
	for arg, want := range tests {
		t.Run(arg, func(t *testing.T) {
			s := Defaults()
			_, err := flagsOf(t, &s, arg)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", arg, err, want)
			}
			if diff := cmp.Diff(Defaults(), s); diff != "" {
				t.Errorf("%s changed the spec (-want +got):\n%s", arg, diff)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	s := Defaults()
	fs, err := flagsOf(t, &s)
	if err != nil {
		t.Fatal(err)
	}
	help := fs.FlagUsages()
	for _, want := range []string{
		"  -i, --input path ", "  -c, --concurrency number ", "(default 32)", "(default 256MiB)", "(default 10m)", "(default 1h)",
		"--tpm number ", "(default: learned)", "--strict ", "--idle-timeout duration ", "--max-buffer size ",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %q:\n%s", want, help)
		}
	}
}

// Flags win, and only those that were given.
func TestMerge(t *testing.T) {
	file, _, err := Load("job.yaml", []byte("input: [a, b]\nmodel: nova\nconcurrency: 8\nmax-tokens: 100\n"))
	if err != nil {
		t.Fatal(err)
	}
	flags := Defaults()
	fs, err := flagsOf(t, &flags, "-i", "c", "--concurrency=32", "--retry-failed")
	if err != nil {
		t.Fatal(err)
	}
	got := Merge(file, flags, fs.Changed)
	want := Defaults()
	want.Input, want.Model, want.Concurrency, want.MaxTokens, want.RetryFailed = []string{"c"}, "nova", 32, 100, true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Merge (-want +got):\n%s", diff)
	}
}

// The defaults are in the table's ranges, every row can be reached by a flag and, unless it says why not, from a job file.
func TestTable(t *testing.T) {
	def := Defaults()
	seen := map[string]bool{}
	for _, f := range settings {
		if wrong := f.wrong(&def); wrong != "" {
			t.Errorf("%s: the default: %s", f.name, wrong)
		}
		if seen[f.name] || seen[f.short] {
			t.Errorf("%s: there twice", f.name)
		}
		seen[f.name] = true
		if f.short != "" {
			seen[f.short] = true
		}
		if text := f.text(&def); text != "" {
			again := Spec{}
			if err := f.set(&again, text); err != nil || f.text(&again) != text {
				t.Errorf("%s: the default %q does not read back: %v, %q", f.name, text, err, f.text(&again))
			}
		}
	}
}

// What the documentation shows has to be what the program takes.
func TestReadmeNamesEveryFlag(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range settings {
		if !strings.Contains(string(readme), "`--"+f.name+"`") && !strings.Contains(string(readme), "-"+f.short+", --"+f.name+"`") {
			t.Errorf("README.md does not name --%s", f.name)
		}
	}
}
