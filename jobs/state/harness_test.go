package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/sinks"
)

var errCrash = errors.New("the power is gone")

// A disk is a file system that counts its steps and can fail at one of them.
type disk struct {
	step   int
	failAt int              // 0: never
	dead   bool             // the crash: nothing works after failAt
	once   bool             // only that step fails
	then   int              // with once: the crash comes so many steps later after all
	part   int              // bytes of the failing write that are written
	synced map[string]int64 // length that survives a power cut
	hit    atomicfile.Op    // what failed
}

func (d *disk) fs() *atomicfile.FS { return &atomicfile.FS{Fault: d.fault} }

func (d *disk) fault(op atomicfile.Op, name string, size int64) (int, error) {
	d.step++
	if d.dead {
		return 0, errCrash
	}
	if d.step == d.failAt {
		d.hit = op
		d.dead = !d.once
		return d.part, errCrash
	}
	if d.hit != "" && d.then > 0 && d.step >= d.failAt+d.then {
		d.dead = true
		return d.part, errCrash
	}
	if _, known := d.synced[name]; !known && (op == atomicfile.OpWrite || op == atomicfile.OpTruncate) {
		if info, err := os.Stat(name); err == nil { // what a session before wrote has been fsynced
			d.synced[name] = info.Size()
		}
	}
	switch op {
	case atomicfile.OpSync:
		if info, err := os.Stat(name); err == nil {
			d.synced[name] = info.Size()
		}
	case atomicfile.OpTruncate:
		d.synced[name] = min(d.synced[name], size)
	case atomicfile.OpRename:
		d.synced[name] = d.synced[atomicfile.TempName(name)]
	case atomicfile.OpRemove:
		delete(d.synced, name)
	}
	return int(size), nil
}

// powerCut loses what was not fsynced: cut off, or turned to zeros.
func (d *disk) powerCut(t *testing.T, dir string, zeros bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || filepath.Base(path) == lockName {
			return err
		}
		info, err := e.Info()
		keep, known := d.synced[path]
		if err != nil || !known || info.Size() <= keep {
			return err
		}
		if err := os.Truncate(path, keep); err != nil || !zeros {
			return err
		}
		return os.Truncate(path, info.Size())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A job is what a test runs: lines, and what becomes of each in each round.
type job struct {
	dir    string
	format string
	rows   sinks.Rows // "": full
	n      int64
	batch  int
	fail   func(pos int64, round int) string // "ok", "failed", "rejected"
	blank  func(pos int64) bool
	stop   int64 // if set, the input seems to end there
}

func (j *job) options(d *disk) Options {
	half := j.n / 2
	recs := func(from, to int64) (n int64) {
		for p := from; p < to; p++ {
			if !j.blank(p) {
				n++
			}
		}
		return n
	}
	o := Options{
		Output: filepath.Join(j.dir, "out."+j.format),
		Frozen: Frozen{
			Model: "m", Format: j.format, Rows: string(j.rows),
			Input: []Source{
				{Name: "a.jsonl", Lines: half, Records: recs(0, half), SHA256: "a"},
				{Name: "b.jsonl", Lines: j.n - half, Records: recs(half, j.n), SHA256: "b"},
			},
		},
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	}
	if d != nil {
		o.fs = d.fs()
	}
	return o
}

func (j *job) record(pos int64) *pipeline.Record {
	source, line := "a.jsonl", pos+1
	if half := j.n / 2; pos >= half {
		source, line = "b.jsonl", pos-half+1
	}
	return &pipeline.Record{Pos: pos, ID: fmt.Sprintf("r%d", pos), Source: source, Line: line}
}

func (j *job) lines(yield func(source string, line int64, id string, idKnown bool) error) error {
	for pos := range j.n {
		if j.blank(pos) {
			continue
		}
		r := j.record(pos)
		if err := yield(r.Source, r.Line, r.ID, true); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) result(pos int64, round int) *pipeline.Result {
	rec := j.record(pos)
	res := &pipeline.Result{Record: rec, ModelID: "m", Attempts: 1, Timing: pipeline.Timing{FirstText: -1}}
	body := json.RawMessage(fmt.Sprintf(`{"prompt":"%d %s"}`, pos, strings.Repeat("x", int(pos%7)*9)))
	switch j.fail(pos, round) {
	case "ok":
		res.Request = &pipeline.Request{Record: rec, Body: body}
		res.Response = &pipeline.Response{Output: json.RawMessage(fmt.Sprintf(`{"o":%d}`, round)), Text: "answer", StopReason: "end_turn", Usage: pipeline.Usage{InputTokens: 3, OutputTokens: 4}}
	case "failed":
		res.Request = &pipeline.Request{Record: rec, Body: body}
		res.Err = &pipeline.RowError{Code: 500, Type: "InternalServerException", Message: fmt.Sprintf("round %d", round), Retryable: true}
	default:
		rec.Fault = &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Column: 3, Message: "no"}
		res.Attempts = 0
		res.Err = &pipeline.RowError{Type: pipeline.TypeInvalidRecord, Message: "no"}
	}
	return res
}

// run does what the command does: open, send what is not done, finish. sent is told what Commit returned nil for.
// again is how often a step that fails is tried again.
func (j *job) run(opt Options, again int, stored func(pos int64)) (err error) {
	r, err := Open(opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if _, ok := r.Finished(); ok {
		return nil
	}
	retry := func(f func() error) error {
		err := f()
		for n := 0; err != nil && n < again; n++ {
			err = f()
		}
		return err
	}
	ctx := context.Background()
	var batch []*pipeline.Result
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if !j.rows.HasPlace() {
			slices.Reverse(batch) // nothing depends on the order within a batch
		}
		if err := retry(func() error { return r.Commit(ctx, batch) }); err != nil {
			return err
		}
		for _, res := range batch {
			stored(res.Record.Pos)
		}
		batch = nil
		return nil
	}
	end := j.n
	if j.stop > 0 {
		end = j.stop
	}
	for pos := range end {
		if j.blank(pos) || r.Done(pos) {
			continue
		}
		batch = append(batch, j.result(pos, r.Round()))
		if len(batch) >= j.batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return retry(func() error { return r.Finish(ctx, 3) })
}

// outcome reads the rows of a finished run, by place: there must be one for each line.
func (j *job) outcome(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	put := func(r *sinks.Row, kind string) {
		if !j.rows.HasPlace() {
			r.Source, r.Line = r.RecordID, 0
		}
		place := fmt.Sprintf("%s:%d", r.Source, r.Line)
		if was, ok := rows[place]; ok {
			t.Errorf("%s has two rows: %s and %s", place, was, kind)
		}
		rows[place] = kind
	}
	opt := j.options(nil)
	if j.format == Parquet {
		for r, err := range sinks.ParquetRows(opt.Output) {
			if err != nil {
				t.Fatal(err)
			}
			put(r, "result "+string(r.ModelOutput)+string(r.ModelInput))
		}
	} else {
		for line, err := range sinks.Lines(opt.Output, -1) {
			if err != nil {
				t.Fatal(err)
			}
			r, _, err := sinks.ParseAnyRow(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			put(r, "result "+string(r.ModelOutput)+string(r.ModelInput))
		}
	}
	for line, err := range sinks.Lines(ErrorsPath(opt.Output), -1) {
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := sinks.ParseAnyRow(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		put(r, "error "+r.Error.ErrorMessage)
	}
	return rows
}

func (j *job) verify(t *testing.T) {
	t.Helper()
	v, err := Verify(context.Background(), VerifyOptions{Output: j.options(nil).Output, Lines: j.lines})
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() {
		t.Errorf("verify: %d differences, %d left, finished %v:\n%s", v.Total, v.Left, v.Finished, strings.Join(v.Differences, "\n"))
	}
}

func newJob(t *testing.T, format string) *job { return newJobIn(tempDir(t), format) }

func newJobIn(dir, format string) *job {
	return &job{
		dir: dir, format: format, n: 23, batch: 6,
		blank: func(pos int64) bool { return pos == 5 || pos == 20 },
		fail: func(pos int64, round int) string {
			switch {
			case pos == 3 || pos == 11:
				return "rejected"
			case pos%4 == 2 && round == 0, pos == 14 && round < 3:
				return "failed"
			}
			return "ok"
		},
	}
}

func diffMaps(want, got map[string]string) string {
	var b bytes.Buffer
	keys := slices.Sorted(maps.Keys(want))
	for k := range got {
		if _, ok := want[k]; !ok {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		if want[k] != got[k] {
			fmt.Fprintf(&b, "%s: want %q, got %q\n", k, want[k], got[k])
		}
	}
	return b.String()
}

// A snapshot is what a directory holds, parents before their children.
type snapshot []struct {
	name string
	mode fs.FileMode
	data []byte
}

func save(t *testing.T, dir string) (s snapshot) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var data []byte
		if !e.IsDir() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		s = append(s, snapshot{{strings.TrimPrefix(path, dir), info.Mode(), data}}...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restore makes a directory hold what it held.
func (s snapshot) restore(t *testing.T, dir string) {
	t.Helper()
	err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
	for _, f := range s {
		path := dir + f.name
		if f.mode.IsDir() {
			err = errors.Join(err, os.Mkdir(path, 0o700))
		} else {
			err = errors.Join(err, os.WriteFile(path, f.data, 0o600))
		}
		err = errors.Join(err, os.Chmod(path, f.mode.Perm()))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tempDir is in memory where it can be: what is tested is what happens around an fsync, not how long it takes.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "batchrun-test-") //nolint:usetesting // t.TempDir cannot be told where
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
