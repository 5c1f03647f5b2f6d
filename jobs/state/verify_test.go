package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/sinks"
)

// Whatever is wrong with the files is told with its place, with the state directory and without it.
func TestVerifyFinds(t *testing.T) {
	line := func(n int, f func(line []byte) []byte) func([]byte) []byte {
		return func(b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			lines[n] = f(lines[n])
			return bytes.Join(lines, nil)
		}
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !bytes.Contains(b, []byte(old)) {
				panic("nothing to replace: " + old + " in " + string(b))
			}
			return bytes.Replace(b, []byte(old), []byte(new), 1)
		}
	}
	const out, errs = "out.jsonl", "out.errors.jsonl"
	tests := map[string]struct {
		file  string
		edit  func([]byte) []byte
		want  string // a difference without the state
		total int64

		surplus int64 // rows that no line needs
	}{
		"nothing":             {out, func(b []byte) []byte { return b }, "", 0, 0},
		"a row is gone":       {out, line(1, func([]byte) []byte { return nil }), "a.jsonl:2: no row", 1, 0},
		"a row twice":         {out, line(1, func(l []byte) []byte { return append(l, l...) }), "a.jsonl:2: DIR/out.jsonl:3: a second row, the first is DIR/out.jsonl:2", 1, 1},
		"the last row twice":  {out, func(b []byte) []byte { return append(b, b[bytes.LastIndexByte(b[:len(b)-1], '\n')+1:]...) }, "DIR/out.jsonl:14: a second row, the first is DIR/out.jsonl:13", 1, 1},
		"all rows twice":      {out, func(b []byte) []byte { return append(b, b...) }, "a.jsonl:2: DIR/out.jsonl:15: a second row, the first is DIR/out.jsonl:2", 13, 13},
		"an error twice":      {errs, line(0, func(l []byte) []byte { return append(l, l...) }), "a.jsonl:3: DIR/out.errors.jsonl:2: a second row, the first is DIR/out.errors.jsonl:1", 1, 1},
		"an error is gone":    {errs, line(0, func([]byte) []byte { return nil }), "a.jsonl:3: no row", 1, 0},
		"another id":          {out, replace(`"recordId":"r1"`, `"recordId":"rX"`), "a.jsonl:2: DIR/out.jsonl:2: its recordId is not that of the line", 1, 0},
		"no id":               {out, replace(`"recordId":"r1"`, `"recordId":null`), "its recordId is not that of the line", 1, 0},
		"another line":        {out, replace(`"line":2`, `"line":99`), "a.jsonl:99: DIR/out.jsonl:2: a row for a line the input does not have", 2, 1},
		"another source":      {out, replace(`"source":"a.jsonl","line":2`, `"source":"z","line":2`), "z:2: DIR/out.jsonl:2: a row for a line the input does not have", 2, 1},
		"half a row":          {out, func(b []byte) []byte { return b[:len(b)-9] }, "DIR/out.jsonl:13: not a row", 2, 0},
		"without newline":     {out, func(b []byte) []byte { return b[:len(b)-1] }, "DIR/out.jsonl:13: the row is cut off", 2, 0},
		"no answer":           {out, replace(`"modelOutput":{"o":0},`, ``), "DIR/out.jsonl:1: a.jsonl:1: a result without modelOutput or text", 1, 0},
		"answer is no JSON":   {out, replace(`"modelOutput":{"o":0},`, `"modelOutput":{o:0},`), "modelOutput is not JSON", 1, 0},
		"error in results":    {out, replace(`"modelOutput":`, `"error":{},"modelOutput":`), "an error row among the results", 1, 0},
		"error without one":   {errs, replace(`"error":`, `"mistake":`), "an error row without error", 1, 0},
		"result among errors": {errs, replace(`"error":`, `"modelOutput":{},"error":`), "an error row with modelOutput", 1, 0},
	}
	for name, tt := range tests {
		for _, withState := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/state=%v", name, withState), func(t *testing.T) {
				j := newJob(t, JSONL)
				finished(t, j)
				path := filepath.Join(j.dir, tt.file)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				write(t, path, string(tt.edit(bytes.Clone(data))))
				if !withState {
					if err := os.RemoveAll(filepath.Join(j.dir, "out.jsonl.batchrun")); err != nil {
						t.Fatal(err)
					}
				}
				v, err := Verify(context.Background(), VerifyOptions{Output: filepath.Join(j.dir, out), Lines: j.lines})
				if err != nil {
					t.Fatal(err)
				}
				if v.OK() != (tt.want == "") || v.State != withState || v.Records != 21 {
					t.Errorf("OK %v, state %v, %d records:\n%s", v.OK(), v.State, v.Records, strings.Join(v.Differences, "\n"))
				}
				all := strings.ReplaceAll(strings.Join(v.Differences, "\n"), j.dir, "DIR")
				if sum := v.Succeeded + v.Failed + v.Rejected + v.Left; sum != v.Records {
					t.Errorf("%d records, but %d + %d + %d + %d left is %d", v.Records, v.Succeeded, v.Failed, v.Rejected, v.Left, sum)
				}
				if v.Surplus != tt.surplus {
					t.Errorf("%d rows too many, want %d", v.Surplus, tt.surplus)
				}
				if tt.surplus > 0 && !strings.Contains(all, tt.want) {
					t.Errorf("%q is not told:\n%s", tt.want, all)
				}
				if !withState && (!strings.Contains(all, tt.want) || v.Total != tt.total) {
					t.Errorf("want %d differences, one is %q, got %d:\n%s", tt.total, tt.want, v.Total, all)
				}
			})
		}
	}
}

// Rows that do not say where they belong are held against the journal's order, after a retry round as well.
func TestVerifyFindsInForeignRows(t *testing.T) {
	swap := func(b []byte) []byte {
		lines := bytes.SplitAfter(b, []byte("\n"))
		lines[0], lines[1] = lines[1], lines[0]
		return bytes.Join(lines, nil)
	}
	tests := map[string]struct {
		edit func([]byte) []byte
		want string
	}{
		"nothing":        {func(b []byte) []byte { return b }, ""},
		"a row is gone":  {func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] }, "its recordId is not that of the line"},
		"two rows moved": {swap, "a.jsonl:1: DIR/out.jsonl:1: its recordId is not that of the line"},
		"one row more":   {func(b []byte) []byte { return append(b, b[:bytes.IndexByte(b, '\n')+1]...) }, "past what the journal counts"},
		"another kind": {func(b []byte) []byte {
			return append([]byte(`{"recordId":"r0","source":"a.jsonl","line":1}`), b[bytes.IndexByte(b, '\n'):]...)
		}, "a row of the kind full among those of the kind"},
		"no row": {func(b []byte) []byte { return append([]byte(`{}`), b[bytes.IndexByte(b, '\n'):]...) }, "DIR/out.jsonl:1: not a row"},
	}
	for _, kind := range []sinks.Rows{sinks.Bedrock, sinks.OpenAI, sinks.Anthropic, sinks.Text} {
		for name, tt := range tests {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				j := newJob(t, JSONL)
				j.rows = kind
				finished(t, j)
				opt := j.options(nil)
				opt.RetryFailed = true
				if err := j.run(opt, 0, func(int64) {}); err != nil {
					t.Fatal(err)
				}
				data, err := os.ReadFile(opt.Output)
				if err != nil {
					t.Fatal(err)
				}
				write(t, opt.Output, string(tt.edit(bytes.Clone(data))))
				v, err := Verify(context.Background(), VerifyOptions{Output: opt.Output, Lines: j.lines})
				if err != nil {
					t.Fatal(err)
				}
				all := strings.ReplaceAll(strings.Join(v.Differences, "\n"), j.dir, "DIR")
				if v.OK() != (tt.want == "") || !strings.Contains(all, tt.want) {
					t.Errorf("OK %v, want %q in\n%s", v.OK(), tt.want, all)
				}
				if err := os.RemoveAll(opt.Output + ".batchrun"); err != nil {
					t.Fatal(err)
				}
				if _, err := Verify(context.Background(), VerifyOptions{Output: opt.Output, Lines: j.lines}); tt.want == "" && !errors.Is(err, errNeedsState) {
					t.Errorf("without its state: %v", err)
				}
			})
		}
	}
}

// A stopped run is told as such: counts, what is left, and no differences.
func TestVerifyUnfinished(t *testing.T) {
	for _, format := range []string{JSONL, Parquet} {
		j := newJob(t, format)
		stopped(t, j, 12)
		v, err := Verify(context.Background(), VerifyOptions{Output: j.options(nil).Output, Lines: j.lines})
		if err != nil {
			t.Fatal(err)
		}
		if v.OK() || v.Finished || v.Total != 0 || v.Records != 21 || v.Succeeded+v.Failed+v.Rejected+v.Left != 21 || v.Left != 10 || len(v.Notes) == 0 {
			t.Errorf("%s: %+v", format, v)
		}
		// In the midst of a retry round the old error rows still stand beside the new results.
		finished(t, j)
		j.stop = 8
		opt := j.options(nil)
		opt.RetryFailed = true
		if err := j.run(opt, 0, func(int64) {}); err == nil {
			t.Fatal("the round was finished")
		}
		v, err = Verify(context.Background(), VerifyOptions{Output: opt.Output, Lines: j.lines})
		if err != nil {
			t.Fatal(err)
		}
		if v.OK() || v.Finished || v.Total != 0 || v.Left != 0 || v.Round != 1 {
			t.Errorf("%s, in a round: %+v", format, v)
		}
	}
}

// Beyond its memory verify goes to disk, with the same answer; repeated ids are counted exactly.
func TestVerifySpills(t *testing.T) {
	for _, memory := range []int{1, 300, 1 << 20} {
		j := newJob(t, JSONL)
		finished(t, j)
		lines := func(yield func(string, int64, string, bool) error) error {
			return j.lines(func(source string, line int64, id string, known bool) error {
				return yield(source, line, "same", known)
			})
		}
		temp := t.TempDir()
		opt := VerifyOptions{Output: j.options(nil).Output, Lines: lines, Memory: memory, Temp: temp, Limit: 3}
		v, err := Verify(context.Background(), opt)
		if err != nil {
			t.Fatal(err)
		}
		if v.RepeatedIDs != 20 || v.Total != 21 || len(v.Differences) != 3 || !strings.HasPrefix(v.Differences[0], "a.jsonl:1:") {
			t.Errorf("memory %d: %d repeated, %d differences: %q", memory, v.RepeatedIDs, v.Total, v.Differences)
		}
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("memory %d: %d temporary files are left", memory, len(left))
		}
	}
}
