package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/sinks"
)

// The output formats.
const (
	JSONL   = "jsonl"
	Parquet = "parquet"
)

// Options says what [Open] opens.
type Options struct {
	Dir    string // the state directory; "": Output + ".batchrun"
	Output string
	Errors string // the error rows; "": [ErrorsPath] of Output
	Frozen Frozen

	// CompareInput tells whether the input is still the one the run was started with, and if not, says where it
	// differs first. nil compares the number of sources and their SHA256 where both are known.
	CompareInput func(old, new []Source) error

	Fresh       bool // move what is there aside and start again
	RetryFailed bool // send the failed records again
	// PaidElsewhere tells that what is committed in this session came from a job that this program did not run: it is not counted as
	// used of any quota.
	PaidElsewhere bool
	// Counted tells that what this session spends is counted, by package spend, in the state directory.
	Counted bool

	Command  string            // for whoever finds the run locked; no secrets
	Settings map[string]string // what is not frozen, for the journal only; no secrets
	Now      func() time.Time  // nil: time.Now

	fs *atomicfile.FS // tests make steps fail
}

// Frozen is what shapes the answers of a run and therefore cannot change on the way. The JSON names are the
// flags, so that a difference can be named.
type Frozen struct {
	Input     []Source `json:"input"`
	Model     string   `json:"model"`
	Family    string   `json:"family"`
	API       string   `json:"api"`
	MaxTokens int64    `json:"max-tokens"`
	Format    string   `json:"format"` // [JSONL] or [Parquet]
	Rows      string   `json:"rows"`   // see [sinks.Rows]
	// Defaults are other settings that shape answers, by their flags.
	Defaults map[string]string `json:"defaults,omitempty"`
}

// A Source is the fingerprint of one input. Where SHA256 is "", as for standard input, Lines and Records are not
// known yet.
type Source struct {
	Name    string    `json:"name"` // as rows call it; names within a run are unique
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime,omitzero"`
	Lines   int64     `json:"lines"`   // all of them
	Records int64     `json:"records"` // lines that are not blank
	SHA256  string    `json:"sha256"`
}

// ErrorsPath is where the error rows of an output go: STEM.errors.jsonl beside it.
func ErrorsPath(output string) string {
	stem := output
	for _, ext := range []string{".gz", ".zst"} {
		stem = strings.TrimSuffix(stem, ext)
	}
	for _, ext := range []string{".jsonl", ".parquet"} {
		if cut, ok := strings.CutSuffix(stem, ext); ok && filepath.Base(stem) != ext {
			stem = cut
			break
		}
	}
	return stem + ".errors.jsonl"
}

// DirPath is the default state directory of an output.
func DirPath(output string) string { return output + ".batchrun" }

// complete fills in the defaults and reports all faults together.
func (o *Options) complete() error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Errors == "" {
		o.Errors = ErrorsPath(o.Output)
	}
	if o.Dir == "" {
		o.Dir = DirPath(o.Output)
	}
	var errs []error
	if o.Output == "" {
		errs = append(errs, errors.New("state: no output"))
	}
	if o.Fresh && o.RetryFailed {
		errs = append(errs, errors.New("--fresh and --retry-failed cannot stand together: one starts again, the other goes on"))
	}
	if f := o.Frozen.Format; f != JSONL && f != Parquet {
		errs = append(errs, fmt.Errorf("format %q is neither %s nor %s", f, JSONL, Parquet))
	}
	switch rows := sinks.Rows(o.Frozen.Rows); {
	case !rows.Valid():
		errs = append(errs, fmt.Errorf("rows %q is none of %s", rows, strings.Join(sinks.Kinds(), ", ")))
	case o.Frozen.Format == Parquet && !rows.HasPlace():
		errs = append(errs, fmt.Errorf("rows %q cannot be columns of a Parquet file: only %s and %s can", rows, sinks.Full, sinks.Lean))
	}
	names := map[string]bool{}
	for _, s := range o.Frozen.Input {
		if names[s.Name] {
			errs = append(errs, fmt.Errorf("two inputs are named %s: their rows could not be told apart", s.Name))
		}
		names[s.Name] = true
	}
	var err error
	for _, p := range []*string{&o.Dir, &o.Output, &o.Errors} {
		// Absolute, so that a change of the working directory cannot move them.
		if *p, err = filepath.Abs(*p); err != nil {
			errs = append(errs, err)
		}
	}
	if o.Output == o.Errors || o.Output == o.Dir || o.Errors == o.Dir {
		errs = append(errs, errors.New("output, errors and state must be three different files"))
	}
	return errors.Join(errs...)
}

// A Difference is one frozen setting that changed.
type Difference struct {
	Flag     string // without dashes
	Old, New string
}

// differences lists what differs beyond the input.
func differences(was, is Frozen) []Difference {
	var diffs []Difference
	a, b := reflect.ValueOf(was), reflect.ValueOf(is)
	for i := range a.NumField() {
		flag, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		switch flag {
		case "input", "defaults":
			continue
		}
		x, y := fmt.Sprint(a.Field(i)), fmt.Sprint(b.Field(i))
		if flag == "rows" { // the default has two spellings
			x, y = orFull(x), orFull(y)
		}
		if x != y {
			diffs = append(diffs, Difference{flag, x, y})
		}
	}
	var names []string
	for name := range was.Defaults {
		names = append(names, name)
	}
	for name := range is.Defaults {
		if _, ok := was.Defaults[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if x, y := was.Defaults[name], is.Defaults[name]; x != y {
			diffs = append(diffs, Difference{name, x, y})
		}
	}
	return diffs
}

func orFull(rows string) string {
	if rows == "" {
		return string(sinks.Full)
	}
	return rows
}

// compareInput is the default of Options.CompareInput.
func compareInput(was, is []Source) error {
	if len(was) != len(is) {
		return fmt.Errorf("%d inputs, %d when the run began", len(is), len(was))
	}
	for i := range was {
		if was[i].SHA256 != "" && is[i].SHA256 != "" && was[i].SHA256 != is[i].SHA256 {
			return fmt.Errorf("%s: its content has changed since the run began", is[i].Name)
		}
	}
	return nil
}
