package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// faults is what a check found wrong. The first few are told, the rest counted.
type faults struct {
	told []string
	n    int
}

func (f *faults) add(format string, args ...any) {
	const most = 10
	if f.n++; len(f.told) < most {
		f.told = append(f.told, fmt.Sprintf(format, args...))
	}
}

// err is nil where nothing was found.
func (f *faults) err() error {
	if f.n == 0 {
		return nil
	}
	return missed("%d faults:\n  %s", f.n, strings.Join(f.told, "\n  "))
}

// An expected record is what of an input line must come back in its row.
type expected struct {
	input    json.RawMessage // nil: it cannot be sent
	metadata json.RawMessage // nil: none
}

// readInput reads the records of an input file by their ids. It knows records with a modelInput only.
func readInput(path string) (map[string]expected, error) {
	all := make(map[string]expected)
	err := eachLine(path, func(line []byte) error {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(line, &fields); err != nil {
			return err
		}
		var id string
		if err := json.Unmarshal(fields["recordId"], &id); err != nil {
			return err
		}
		if _, twice := all[id]; twice {
			return fmt.Errorf("record id %q comes twice", id)
		}
		var e expected
		if input := fields["modelInput"]; bytes.HasPrefix(input, []byte("{")) {
			e.input = input
		}
		delete(fields, "recordId")
		delete(fields, "modelInput")
		if len(fields) > 0 {
			var err error
			if e.metadata, err = json.Marshal(fields); err != nil {
				return err
			}
		}
		all[id] = e
		return nil
	})
	return all, err
}

// rowsByID reads the result rows and error rows of a job. Every record must have exactly one row, and the row must
// say of it what the input said.
func rowsByID(j job, want map[string]expected, f *faults) (map[string]*row, error) {
	rows := make(map[string]*row, len(want))
	for _, path := range []string{j.output, j.errorRows()} {
		for r, err := range readRows(path) {
			if errors.Is(err, fs.ErrNotExist) && path == j.errorRows() {
				break
			}
			if err != nil {
				return nil, err
			}
			if r.RecordID == nil {
				f.add("%s: a row without recordId, of line %d", path, r.Line)
				continue
			}
			id := *r.RecordID
			e, known := want[id]
			if !known {
				f.add("%s: %s is not in the input", path, id)
				continue
			}
			if rows[id] != nil {
				f.add("%s: %s has two rows", path, id)
				continue
			}
			rows[id] = r
			if (r.Error == nil) != (path == j.output) {
				f.add("%s: %s is in the wrong file", path, id)
			}
			if !sameJSON(e.input, r.ModelInput) {
				f.add("%s: modelInput is %.200s, was %.200s", id, r.ModelInput, e.input)
			}
			if !sameJSON(e.metadata, r.Metadata) {
				f.add("%s: metadata is %.200s, was %.200s", id, r.Metadata, e.metadata)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if rows[id] == nil {
			f.add("%s has no row", id)
		}
	}
	return rows, nil
}

// checkTruth holds the result rows against what the server answers.
func checkTruth(opts sim.Options, rows map[string]*row, f *faults) {
	for id, r := range rows {
		if r.Error != nil {
			continue
		}
		truth, err := sim.Truth(opts, modelID, r.ModelInput)
		if err != nil {
			f.add("%s has a result, the server refuses it: %v", id, err)
			continue
		}
		want := content{
			text: truth.Text, output: canonical(truth.Body), stop: truth.StopReason, usage: rowUsage(truth.Usage),
		}
		if diff := want.difference(contentOf(r)); diff != "" {
			f.add("%s: %s", id, diff)
		}
	}
}

// content is what of a row must be the same however often a run was cut short.
type content struct {
	errorType string // "" of a result
	text      string
	output    string // canonical JSON
	stop      string
	usage     rowUsage
}

func contentOf(r *row) content {
	if r.Error != nil {
		return content{errorType: r.Error.Type}
	}
	c := content{output: canonical(r.ModelOutput), stop: r.StopReason, usage: r.Usage, text: "(missing)"}
	if r.Text != nil {
		c.text = *r.Text
	}
	return c
}

// difference tells the first field in which got is not c, "" where there is none.
func (c content) difference(got content) string {
	switch {
	case got == c:
		return ""
	case got.errorType != c.errorType:
		return fmt.Sprintf("error %q, expected %q", got.errorType, c.errorType)
	case got.text != c.text:
		return fmt.Sprintf("text %q, expected %q", got.text, c.text)
	case got.stop != c.stop:
		return fmt.Sprintf("stop reason %q, expected %q", got.stop, c.stop)
	case got.usage != c.usage:
		return fmt.Sprintf("usage %+v, expected %+v", got.usage, c.usage)
	}
	return fmt.Sprintf("modelOutput %s, expected %s", got.output, c.output)
}

// canonical is JSON with its names in order and no space; what is not JSON stays as it is.
func canonical(data []byte) string {
	v, err := decode(data)
	if err != nil {
		return string(data)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(data)
	}
	return string(out)
}

// sameJSON compares two values of JSON; nothing equals nothing only.
func sameJSON(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decode(data []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // 1 and 1.0 are not the same answer
	return v, dec.Decode(&v)
}

// count tells how many rows are results, and how many are errors of which type.
func count(rows map[string]*row) (succeeded int64, failed map[string]int64) {
	failed = make(map[string]int64)
	for _, r := range rows {
		if r.Error == nil {
			succeeded++
		} else {
			failed[r.Error.Type]++
		}
	}
	return succeeded, failed
}
