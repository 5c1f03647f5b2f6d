package input

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/batchrun/batchrun/pipeline"
)

// gz is a gzip file of one member for each part.
func gz(parts ...string) string {
	var b bytes.Buffer
	for _, part := range parts {
		w := gzip.NewWriter(&b)
		io.WriteString(w, part)
		w.Close()
	}
	return b.String()
}

// zst is a zstd file of one frame for each part.
func zst(parts ...string) string {
	var b bytes.Buffer
	for _, part := range parts {
		w, err := zstd.NewWriter(&b)
		if err != nil {
			panic(err)
		}
		io.WriteString(w, part)
		w.Close()
	}
	return b.String()
}

// write makes files in a directory of their own and returns it.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// files gives contents the names a, b, ….
func files(t testing.TB, contents ...string) []File {
	t.Helper()
	var list []File
	for i, content := range contents {
		name := string(rune('a' + i))
		list = append(list, File{Name: name, Path: filepath.Join(write(t, map[string]string{name: content}), name)})
	}
	return list
}

// numbered is n records, one on each line.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"recordId":"r%d","modelInput":{"n":%d}}`+"\n", i+1, i+1)
	}
	return b.String()
}

func open(t testing.TB, o Options) *Reader {
	t.Helper()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// all reads to the end and puts every record in a few words: its id, place, position, and F for a fault.
func all(r *Reader) (seen []string, err error) {
	for {
		rec, err := r.Next(context.Background())
		if err != nil {
			return seen, err
		}
		s := fmt.Sprintf("%s@%s#%d", rec.ID, rec.Place(), rec.Pos)
		if rec.Fault != nil {
			s += "F"
		}
		seen = append(seen, s)
	}
}

func hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

func isFault(rec *pipeline.Record, kind string) bool {
	return rec.Fault != nil && rec.Fault.Type == kind
}
