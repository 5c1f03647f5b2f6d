package state

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

// tree is what a directory holds, but for the lock's holder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		if e.Type().IsRegular() && e.Name() != lockName {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += " " + string(data)
		}
		m[strings.TrimPrefix(path, dir)] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// stopped runs a job until position to, as a run that was interrupted.
func stopped(t *testing.T, j *job, to int64) {
	t.Helper()
	part := *j
	part.stop = to
	opt := j.options(nil)
	if err := part.run(opt, 0, func(int64) {}); !errors.Is(err, ErrUnfinished) {
		t.Fatalf("want ErrUnfinished, got %v", err)
	}
}

func finished(t *testing.T, j *job) {
	t.Helper()
	if err := j.run(j.options(nil), 0, func(int64) {}); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	edit := func(name string, f func([]byte) []byte) func(t *testing.T, j *job, o *Options) {
		return func(t *testing.T, j *job, _ *Options) {
			path := filepath.Join(j.dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(t *testing.T, j *job, o *Options) {
		return func(t *testing.T, j *job, _ *Options) {
			if err := os.Remove(filepath.Join(j.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	shorter := func(b []byte) []byte { return b[:len(b)-1] }
	other := func(b []byte) []byte { b[len(b)-3] ^= 1; return b }
	tests := map[string]struct {
		format string
		before func(t *testing.T, j *job)
		change func(t *testing.T, j *job, o *Options)
		reason string
	}{
		"output without our state": {
			change: func(t *testing.T, j *job, _ *Options) { write(t, filepath.Join(j.dir, "out.jsonl"), "mine\n") },
			reason: "out.jsonl: exists, but there is no state",
		},
		"parquet output without our state": {
			format: Parquet,
			change: func(t *testing.T, j *job, _ *Options) { write(t, filepath.Join(j.dir, "out.parquet"), "mine\n") },
			reason: "out.parquet: exists, but there is no state",
		},
		"errors without our state": {
			change: func(t *testing.T, j *job, _ *Options) { write(t, filepath.Join(j.dir, "out.errors.jsonl"), "") },
			reason: "out.errors.jsonl: exists, but there is no state",
		},
		"errors of another run": {
			change: func(t *testing.T, j *job, _ *Options) {
				other := *j
				other.format = Parquet
				finished(t, &other)
			},
			reason: "out.errors.jsonl: belongs to the run in",
		},
		"fresh over errors of another run": {
			change: func(t *testing.T, j *job, o *Options) {
				other := *j
				other.format = Parquet
				finished(t, &other)
				o.Fresh = true
			},
			reason: "out.errors.jsonl: belongs to the run in",
		},
		"output missing":            {before: func(t *testing.T, j *job) { stopped(t, j, 9) }, change: remove("out.jsonl"), reason: "out.jsonl: is missing"},
		"output shorter":            {before: func(t *testing.T, j *job) { stopped(t, j, 9) }, change: edit("out.jsonl", shorter), reason: "are counted"},
		"output changed":            {before: func(t *testing.T, j *job) { stopped(t, j, 9) }, change: edit("out.jsonl", other), reason: "have changed"},
		"errors missing":            {before: func(t *testing.T, j *job) { stopped(t, j, 9) }, change: remove("out.errors.jsonl"), reason: "out.errors.jsonl: is missing"},
		"errors shorter":            {before: func(t *testing.T, j *job) { stopped(t, j, 9) }, change: edit("out.errors.jsonl", shorter), reason: "are counted"},
		"finished output missing":   {before: finished, change: remove("out.jsonl"), reason: "out.jsonl: is missing"},
		"spool missing":             {format: Parquet, before: func(t *testing.T, j *job) { stopped(t, j, 9) }, change: remove("out.parquet.batchrun/spool.jsonl"), reason: "spool.jsonl: is missing"},
		"sealed file missing":       {format: Parquet, before: finished, change: remove("out.parquet"), reason: "out.parquet: is missing"},
		"sealed file changed":       {format: Parquet, before: finished, change: edit("out.parquet", shorter), reason: "it was sealed with"},
		"parquet put there by hand": {format: Parquet, before: func(t *testing.T, j *job) { stopped(t, j, 9) }, change: func(t *testing.T, j *job, _ *Options) { write(t, filepath.Join(j.dir, "out.parquet"), "x") }, reason: "has not written it yet"},
		"journal damaged":           {before: finished, change: edit("out.jsonl.batchrun/journal", func(b []byte) []byte { b[12] ^= 1; return b }), reason: "journal:1: journal is damaged"},
		"journal gone":              {before: finished, change: remove("out.jsonl.batchrun/journal"), reason: "this run has not written anything yet"},
		"spec damaged":              {before: finished, change: edit("out.jsonl.batchrun/spec.json", shorterBy(20)), reason: "spec.json"},
		"state is a symlink": {
			change: func(t *testing.T, j *job, _ *Options) {
				if err := errors.Join(os.Mkdir(filepath.Join(j.dir, "d"), 0o700), os.Symlink("d", filepath.Join(j.dir, "out.jsonl.batchrun"))); err != nil {
					t.Fatal(err)
				}
			},
			reason: "is a symlink",
		},
		"a symlink in the state": {
			before: func(t *testing.T, j *job) { stopped(t, j, 9) },
			change: func(t *testing.T, j *job, _ *Options) {
				name := filepath.Join(j.dir, "out.jsonl.batchrun/journal")
				if err := errors.Join(os.Rename(name, name+"2"), os.Symlink("journal2", name)); err != nil {
					t.Fatal(err)
				}
			},
			reason: "journal: is a symlink",
		},
		"somebody's directory": {
			change: func(t *testing.T, j *job, _ *Options) {
				if err := os.Mkdir(filepath.Join(j.dir, "out.jsonl.batchrun"), 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(j.dir, "out.jsonl.batchrun/holiday.jpg"), "x")
			},
			reason: "is not a state directory: it holds holiday.jpg",
		},
		"somebody's directory, fresh": {
			change: func(t *testing.T, j *job, o *Options) {
				if err := os.Mkdir(filepath.Join(j.dir, "out.jsonl.batchrun"), 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(j.dir, "out.jsonl.batchrun/holiday.jpg"), "x")
				o.Fresh = true
			},
			reason: "is not a state directory: it holds holiday.jpg",
		},
		"nothing to retry": {
			change: func(_ *testing.T, _ *job, o *Options) { o.RetryFailed = true },
			reason: "there is no earlier run",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			format := tt.format
			if format == "" {
				format = JSONL
			}
			j := newJob(t, format)
			if tt.before != nil {
				tt.before(t, j)
			}
			opt := j.options(nil)
			tt.change(t, j, &opt)
			was := tree(t, j.dir)
			r, err := Open(opt)
			if err == nil {
				r.Close()
				t.Fatal("was not refused")
			}
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok {
				t.Fatalf("%T: %v", err, err)
			}
			if !strings.Contains(refused.Reason, tt.reason) || refused.Hint == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("refused with %q, hint %q; want %q", refused.Reason, refused.Hint, tt.reason)
			}
			is := tree(t, j.dir)
			if name == "journal gone" { // opening the journal makes an empty one, which changes nothing
				delete(is, "/out.jsonl.batchrun/journal")
			}
			if diff := diffMaps(was, is); diff != "" {
				t.Errorf("touched although refused:\n%s", diff)
			}
		})
	}
}

func shorterBy(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }

func TestMismatchNamesEveryDifference(t *testing.T) {
	j := newJob(t, JSONL)
	stopped(t, j, 9)
	opt := j.options(nil)
	opt.Frozen.Model, opt.Frozen.MaxTokens, opt.Frozen.Rows = "other", 7, "lean"
	opt.Frozen.Defaults = map[string]string{"system": "x"}
	opt.Frozen.Input[1].SHA256 = "changed"
	was := tree(t, j.dir)
	_, err := Open(opt)
	m, ok := errors.AsType[*MismatchError](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	for _, want := range []string{`--model was "m", now "other"`, `--max-tokens was "0", now "7"`, `--rows was "full", now "lean"`, `--system was "", now "x"`, "--input: b.jsonl"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %s", err, want)
		}
	}
	if len(m.Differences) != 4 {
		t.Errorf("%d differences, want 4: %v", len(m.Differences), m.Differences)
	}
	if diff := diffMaps(was, tree(t, j.dir)); diff != "" {
		t.Errorf("touched:\n%s", diff)
	}
	// The caller's own comparison decides, and the names stay those of the beginning.
	opt = j.options(nil)
	opt.Frozen.Input[0].Name, opt.Frozen.Input[0].SHA256 = "moved/a.jsonl", "?"
	opt.Frozen.Rows = "full" // the default, spelled out
	opt.CompareInput = func(old, new []Source) error {
		if old[0].Name != "a.jsonl" || new[0].Name != "moved/a.jsonl" {
			t.Errorf("compares %v and %v", old, new)
		}
		return nil
	}
	r, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := r.Frozen().Input[0].Name; got != "a.jsonl" || !r.Resumed() {
		t.Errorf("source %q, resumed %v", got, r.Resumed())
	}
}

func TestFinishedRunIsRecognised(t *testing.T) {
	for _, format := range []string{JSONL, Parquet} {
		j := newJob(t, format)
		finished(t, j)
		was := tree(t, j.dir)
		r, err := Open(j.options(nil))
		if err != nil {
			t.Fatal(err)
		}
		if exit, ok := r.Finished(); exit != 3 || !ok {
			t.Errorf("finished %v with %d", ok, exit)
		}
		if err := r.Commit(context.Background(), []*pipeline.Result{j.result(0, 0)}); !errors.Is(err, ErrFinished) {
			t.Errorf("commit: %v", err)
		}
		if err := errors.Join(r.Finish(context.Background(), 0), r.Close()); err != nil {
			t.Error(err)
		}
		if diff := diffMaps(was, tree(t, j.dir)); diff != "" {
			t.Errorf("%s: touched:\n%s", format, diff)
		}
	}
}

func TestFreshMovesAsideAndDeletesNothing(t *testing.T) {
	j := newJob(t, JSONL)
	write(t, filepath.Join(j.dir, "out.errors.jsonl.old-1"), "taken")
	write(t, filepath.Join(j.dir, "out.jsonl.old-2"), "taken") // so all three get 3
	finished(t, j)
	was := tree(t, j.dir)
	opt := j.options(nil)
	opt.Fresh = true
	if err := j.run(opt, 0, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	is := tree(t, j.dir)
	for path, want := range was {
		for _, name := range []string{"/out.jsonl.batchrun", "/out.errors.jsonl", "/out.jsonl"} {
			if rest, ok := strings.CutPrefix(path, name); ok && (rest == "" || rest[0] == '/') {
				if got := is[name+".old-3"+rest]; got != want {
					t.Errorf("%s: want %q, got %q", name+".old-3"+rest, want, got)
				}
			}
		}
	}
	j.verify(t)
	// Without a state, an output alone is moved too.
	j2 := newJob(t, JSONL)
	write(t, filepath.Join(j2.dir, "out.jsonl"), "mine")
	opt = j2.options(nil)
	opt.Fresh = true
	if err := j2.run(opt, 0, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, j2.dir)["/out.jsonl.old-1"]; !strings.HasSuffix(got, " mine") {
		t.Errorf("old output: %q", got)
	}
}

func TestCommitRefuses(t *testing.T) {
	j := newJob(t, JSONL)
	r, err := Open(j.options(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx := context.Background()
	if err := r.Commit(ctx, []*pipeline.Result{j.result(0, 0), j.result(2, 0), j.result(3, 0)}); err != nil {
		t.Fatal(err)
	}
	wrongPos := j.result(4, 0)
	wrongPos.Record.Pos = 7
	both := j.result(4, 0)
	both.Err = &pipeline.RowError{}
	neither := j.result(4, 0)
	neither.Response = nil
	stranger := j.result(4, 0)
	stranger.Record.Source = "c.jsonl"
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	was := tree(t, j.dir)
	for name, tt := range map[string]struct {
		ctx   context.Context
		batch []*pipeline.Result
		want  error
	}{
		"succeeded before":    {ctx, []*pipeline.Result{j.result(1, 0), j.result(0, 0)}, ErrAlreadyDone},
		"failed before":       {ctx, []*pipeline.Result{j.result(2, 1)}, ErrAlreadyDone},
		"rejected before":     {ctx, []*pipeline.Result{j.result(3, 0)}, ErrAlreadyDone},
		"twice in a batch":    {ctx, []*pipeline.Result{j.result(4, 0), j.result(4, 0)}, ErrAlreadyDone},
		"at another position": {ctx, []*pipeline.Result{wrongPos}, nil},
		"result and error":    {ctx, []*pipeline.Result{both}, nil},
		"neither":             {ctx, []*pipeline.Result{neither}, nil},
		"of no input":         {ctx, []*pipeline.Result{stranger}, nil},
		"context over":        {cancelled, []*pipeline.Result{j.result(4, 0)}, context.Canceled},
	} {
		if err := r.Commit(tt.ctx, tt.batch); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := diffMaps(was, tree(t, j.dir)); diff != "" {
		t.Errorf("touched:\n%s", diff)
	}
	if got, want := r.Counts(), (Counts{1, 1, 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	if err := r.Finish(ctx, 0); !errors.Is(err, ErrUnfinished) {
		t.Errorf("finish: %v", err)
	}
	if err := r.Commit(ctx, []*pipeline.Result{j.result(4, 0)}); err != nil {
		t.Errorf("after a refused Finish: %v", err)
	}
}

func TestTailIsKept(t *testing.T) {
	j := newJob(t, JSONL)
	stopped(t, j, 9)
	out := j.options(nil).Output
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	write(t, out, string(data)+"half a row")
	finished(t, j)
	kept, err := os.ReadFile(filepath.Join(DirPath(out), "uncounted-1"))
	if err != nil || string(kept) != "half a row" {
		t.Errorf("kept %q, %v", kept, err)
	}
	j.verify(t)
}

// The fingerprint of standard input is known only after it was read.
func TestLearnInput(t *testing.T) {
	j := newJob(t, JSONL)
	opt := j.options(nil)
	opt.Frozen.Input = []Source{{Name: "a.jsonl", Path: "-"}}
	j.n = 2 * j.n // positions of a.jsonl only
	r, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := r.Commit(ctx, []*pipeline.Result{j.result(1, 0), j.result(0, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := r.LearnInput([]Source{{Name: "ignored", Lines: 3, Records: 3, SHA256: "x"}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(ctx, 0); !errors.Is(err, ErrUnfinished) {
		t.Errorf("with a record missing: %v", err)
	}
	if err := r.Commit(ctx, []*pipeline.Result{j.result(2, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Finish(ctx, 0), r.Close()); err != nil {
		t.Error(err)
	}
	f, ok, err := ReadFrozen(r.Dir())
	if err != nil || !ok || f.Input[0].Name != "a.jsonl" || f.Input[0].SHA256 != "x" {
		t.Errorf("%+v, %v, %v", f, ok, err)
	}
	if _, ok, err := ReadFrozen(filepath.Join(j.dir, "nothing")); ok || err != nil {
		t.Errorf("of nothing: %v, %v", ok, err)
	}
}

func TestDisk(t *testing.T) {
	f := Frozen{Format: JSONL, Input: []Source{{Size: 1 << 30, Records: 1000}}}
	lines := EstimateDisk(f, 100)
	f.Format = Parquet
	if got := EstimateDisk(f, 100); lines < 1<<30 || got != 2*lines {
		t.Errorf("%d as lines, %d as Parquet", lines, got)
	}
	f.Rows = "lean"
	if got := EstimateDisk(f, 100); got > 1<<23 {
		t.Errorf("%d without the input", got)
	}
	if n, known := FreeDisk(filepath.Join(t.TempDir(), "not", "there")); known && n <= 0 {
		t.Errorf("%d bytes are free", n)
	}
}

func TestErrorsPath(t *testing.T) {
	for output, want := range map[string]string{
		"a/out.jsonl": "a/out.errors.jsonl", "out.parquet": "out.errors.jsonl", "out.jsonl.gz": "out.errors.jsonl",
		"out": "out.errors.jsonl", "out.json": "out.json.errors.jsonl", "a/.jsonl": "a/.jsonl.errors.jsonl", "x.jsonl.zst": "x.errors.jsonl",
	} {
		if got := ErrorsPath(output); got != want {
			t.Errorf("ErrorsPath(%q) = %q, want %q", output, got, want)
		}
	}
}
