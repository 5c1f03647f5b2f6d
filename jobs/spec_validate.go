package jobs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/sinks"
)

// A Fault is one thing that is wrong with a job as the user gave it.
type Fault struct {
	File         string // the job file, "" for a fault that Validate found
	Line, Column int    // in File, counted from 1
	Key          string // the name of the setting, "" where there is none
	Message      string
}

// String is the fault in one line: where, which, what was expected.
func (f Fault) String() string {
	switch {
	case f.File == "" && f.Key == "":
		return f.Message
	case f.File == "":
		return "--" + f.Key + ": " + f.Message
	case f.Key == "":
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Key, f.Message)
}

// A SpecError is everything that is wrong with a job as the user gave it, so that it can be mended in one go.
type SpecError struct{ Faults []Fault }

// Error is a line for each fault.
func (e *SpecError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Hint is what to do where records were given in the place of a job file; "" for any other fault.
func (e *SpecError) Hint() string {
	for _, f := range e.Faults {
		for _, records := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst"} {
			if strings.HasSuffix(f.File, records) {
				return "a job file is YAML; records are read with -i " + f.File
			}
		}
	}
	return ""
}

// Validate checks a whole job, after flags and job file have been merged. It looks at no file; its error is a
// *[SpecError] with all faults.
func (s *Spec) Validate() error {
	var faults []Fault
	fault := func(key, format string, args ...any) {
		faults = append(faults, Fault{Key: key, Message: fmt.Sprintf(format, args...)})
	}
	for i := range settings {
		if wrong := settings[i].wrong(s); wrong != "" {
			fault(settings[i].name, "%s, not %s", wrong, quote(settings[i].text(s)))
		}
	}
	if s.Model == "" {
		fault("model", "required: give -m MODEL, or model: in the job file")
	}
	if s.Output == "" {
		fault("output", "required: give -o FILE.jsonl or FILE.parquet, or output: in the job file")
	} else if _, err := s.OutputFormat(); err != nil {
		fault("output", "%v", err)
	}
	if format, err := s.OutputFormat(); err == nil && format == "parquet" && !sinks.Rows(s.Rows).HasPlace() && sinks.Rows(s.Rows).Valid() {
		fault("rows", "%s rows cannot be columns of a Parquet file: give an output that ends in .jsonl, or --rows full or lean", s.Rows)
	}
	s.validateAPI(fault)
	stdin := 0
	for _, in := range s.Input {
		if in == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		fault("input", "standard input (-) can be read only once")
	}
	if s.Output == "-" {
		for _, f := range []struct {
			said bool
			key  string
		}{{s.State != "", "state"}, {s.Fresh, "fresh"}, {s.RetryFailed, "retry-failed"}} {
			if f.said {
				fault(f.key, "does not go with --output -, which keeps nothing between two runs")
			}
		}
	}
	if s.MaxCost > 0 && s.Prices == "" {
		fault("max-cost", "needs --prices, a table of what tokens cost: no prices come with the program. --max-tokens-total needs none")
	}
	if s.Fresh && s.RetryFailed {
		fault("retry-failed", "does not go with --fresh: one starts again, the other goes on")
	}
	switch ext := filepath.Ext(s.Errors); {
	case s.Errors == "-":
		fault("errors", "expected a path: error rows go to a file")
	case ext == ".parquet" || ext == ".gz" || ext == ".zst":
		fault("errors", "error rows are always plain JSONL, not %s", ext)
	}
	s.collide(fault)
	if faults == nil {
		return nil
	}
	return &SpecError{faults}
}

// validateAPI finds what does not go together in a call.
func (s *Spec) validateAPI(fault func(key, format string, args ...any)) {
	if s.API == bedrock.ConverseStream && s.Family != "" {
		fault("family", "does not go with --api %s, which has one format for all models", s.API)
	}
	if (s.GuardrailIdentifier == "") != (s.GuardrailVersion == "") {
		fault("guardrail-version", "goes with --guardrail-identifier: give both or neither")
	}
	if n := len(s.tuning().RequestMetadata); n > 16 {
		fault("request-metadata", "expected at most 16 pairs, not %d", n)
	}
}

// collide finds files that the run would write over, or read what it writes.
func (s *Spec) collide(fault func(key, format string, args ...any)) {
	type file struct{ key, path string }
	var written []file
	for _, f := range []file{{"output", s.Output}, {"errors", s.ErrorsPath()}, {"state", s.StatePath()}} {
		if f.path == "" || f.path == "-" {
			continue
		}
		for _, other := range written {
			if same(f.path, other.path) {
				fault(f.key, "is the same as --%s: %s", other.key, quote(f.path))
			}
		}
		written = append(written, f)
	}
	for _, in := range s.Input {
		for _, f := range written {
			switch {
			case in == "-" || strings.HasPrefix(in, "s3://"):
			case same(in, f.path):
				fault("input", "is the same as --%s: %s", f.key, quote(in))
			case matches(in, f.path): // the next run would read it
				fault("input", "%s also matches what the run writes, %s (--%s)", quote(in), quote(f.path), f.key)
			}
		}
	}
}

func same(a, b string) bool { return absolute(a) == absolute(b) }

func matches(pattern, path string) bool {
	ok, err := filepath.Match(absolute(pattern), absolute(path))
	return ok && err == nil // a bad pattern is found when the input is opened
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}

// quote shows a value that somebody else wrote: escaped, and cut when long.
func quote(text string) string {
	const most = 80
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strconv.Quote(text)
}
