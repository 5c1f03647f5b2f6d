package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/pipeline"
)

func batchOf(from, n int) (batch []*pipeline.Result) {
	for i := range n {
		r := result()
		r.Record.Line = int64(from + i)
		batch = append(batch, r)
	}
	return batch
}

func encoded(batches ...[]*pipeline.Result) (b []byte) {
	for _, batch := range batches {
		for _, r := range batch {
			b = AppendRow(b, r, Full)
		}
	}
	return b
}

// Whatever step fails, the same batch given again makes the file as if nothing had failed.
func TestJSONLEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		for _, part := range []int{0, 40, 1 << 20} {
			n, hit := 0, false
			fsys := &atomicfile.FS{Fault: func(_ atomicfile.Op, _ string, size int64) (int, error) {
				if n++; n == step {
					hit = true
					return part, errors.New("fault")
				}
				return int(size), nil
			}}
			opt := JSONLOptions{Path: filepath.Join(t.TempDir(), "out"), FS: fsys}
			if err := CreateJSONL(JSONLOptions{Path: opt.Path}); err != nil {
				t.Fatal(err)
			}
			s, err := OpenJSONL(opt)
			if err != nil {
				s, err = OpenJSONL(opt)
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for i := range 3 {
				batch := batchOf(10*i, 3)
				want = append(want, encoded(batch)...)
				before := s.Mark()
				mark, err := s.Write(context.Background(), batch)
				if err != nil {
					if mark != before {
						t.Errorf("step %d: a failed write moved the mark", step)
					}
					mark, err = s.Write(context.Background(), batch)
				}
				got, _ := os.ReadFile(opt.Path)
				if err != nil || !bytes.Equal(got, want) || mark.Size != int64(len(want)) {
					t.Fatalf("step %d, part %d: %d bytes, mark %+v, want %d; %v", step, part, len(got), mark, len(want), err)
				}
				if err := CheckMark(opt.Path, mark); err != nil {
					t.Fatal(err)
				}
			}
			_ = s.Close()
			if !hit {
				return
			}
		}
	}
}

func TestJSONLReopensAtAMark(t *testing.T) {
	dir := t.TempDir()
	opt := JSONLOptions{Path: filepath.Join(dir, "out"), Keep: filepath.Join(dir, "keep")}
	if err := errors.Join(os.Mkdir(opt.Keep, 0o700), CreateJSONL(opt)); err != nil {
		t.Fatal(err)
	}
	if err := CreateJSONL(opt); !errors.Is(err, os.ErrExist) {
		t.Errorf("made over a file: %v", err)
	}
	s, err := OpenJSONL(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	first, err := s.Write(ctx, batchOf(0, 2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(ctx, batchOf(2, 2)); err != nil {
		t.Fatal(err)
	}
	s.CutTo(first) // the journal failed, say
	if _, err := s.Write(ctx, batchOf(4, 1)); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if got, _ := os.ReadFile(opt.Path); !bytes.Equal(got, encoded(batchOf(0, 2), batchOf(4, 1))) {
		t.Errorf("after CutTo: %s", got)
	}
	// Twice: what is cut off is kept under a new name each time.
	for i := 1; i <= 2; i++ {
		opt.Mark = first
		s, err = OpenJSONL(opt)
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(filepath.Join(opt.Keep, fmt.Sprintf("uncounted-%d", i))); err != nil || !bytes.Equal(kept, encoded(batchOf(4, 1))) {
			t.Errorf("kept %q, %v", kept, err)
		}
		if got, _ := os.ReadFile(opt.Path); !bytes.Equal(got, encoded(batchOf(0, 2))) {
			t.Errorf("reopened: %s", got)
		}
		if _, err := s.Write(ctx, batchOf(4, 1)); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
	}
	for name, mark := range map[string]Mark{"longer": {Size: 1 << 20}, "other bytes": {Size: first.Size, Tail: first.Tail, CRC: first.CRC + 1}} {
		opt.Mark = mark
		if _, err := OpenJSONL(opt); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
