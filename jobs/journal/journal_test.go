package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/internal/atomicfile"
)

type numbered struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func entryOf(n int) numbered { return numbered{n, strings.Repeat("é\n", n%5)} }

// written is a journal of n entries.
func written(t testing.TB, path string, n int) []byte {
	t.Helper()
	j, err := Open(path, nil, func(int64, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := errors.Join(j.Append(entryOf(i)), j.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != j.Size() {
		t.Fatalf("%d bytes, Size says %d", len(data), j.Size())
	}
	return data
}

func entries(path string) (got []string, err error) {
	j, err := Open(path, nil, func(line int64, e []byte) error {
		if got = append(got, string(e)); int64(len(got)) != line {
			return fmt.Errorf("line %d comes as number %d", line, len(got))
		}
		return nil
	})
	if err != nil {
		return got, err
	}
	return got, j.Close()
}

// A journal cut at any byte gives the whole lines before, and is appended to as if the rest had never been.
func TestCutAtEveryByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	whole := written(t, path, 9)
	all, err := entries(path)
	if err != nil || len(all) != 9 {
		t.Fatal(len(all), err)
	}
	for cut := range len(whole) + 1 {
		for _, tail := range []string{"", "\x00\x00\x00"} { // a power cut may leave zeros
			if err := os.WriteFile(path, append(bytes.Clone(whole[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			want := all[:bytes.Count(whole[:cut], []byte("\n"))]
			if got, err := entries(path); err != nil || !slices.Equal(got, want) {
				t.Fatalf("cut at byte %d: %d entries, want %d; %v", cut, len(got), len(want), err)
			}
			j, err := Open(path, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.Append("next"), j.Sync(), j.Close()); err != nil {
				t.Fatal(err)
			}
			if got, err := entries(path); err != nil || !slices.Equal(got, append(slices.Clone(want), `"next"`)) {
				t.Fatalf("cut at byte %d, then appended to: %d entries, want %d; %v", cut, len(got), len(want)+1, err)
			}
		}
	}
}

// Any byte changed before the last line is damage, and its line is named. In the last line it is a torn line; the newline
// before it, once changed, makes the last two lines one.
func TestDamageAtEveryByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	whole := written(t, path, 6)
	all, _ := entries(path)
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for at := range whole {
		for _, flip := range []byte{1, 0x20, 0x80} {
			data := bytes.Clone(whole)
			data[at] ^= flip
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := entries(path)
			if at >= last-1 {
				want := all[:5]
				if at == last-1 {
					want = all[:4]
				}
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("byte %d of the last line: %d entries, %v", at, len(got), err)
				}
				continue
			}
			line := int64(bytes.Count(whole[:at], []byte("\n"))) + 1
			corrupt, ok := errors.AsType[*CorruptError](err)
			if !ok || !errors.Is(err, ErrCorrupt) || corrupt.Line != line || int64(len(got)) != line-1 {
				t.Fatalf("byte %d: want damage in line %d, got %d entries, %v", at, line, len(got), err)
			}
			if unchanged, _ := os.ReadFile(path); !bytes.Equal(unchanged, data) {
				t.Fatalf("byte %d: the damaged file was changed", at)
			}
		}
	}
}

// After a step that failed, what was not durable is gone and the next append goes where it should.
func TestFailedSteps(t *testing.T) {
	for step := 1; ; step++ {
		for _, part := range []int{0, 5, 1000} {
			path := filepath.Join(t.TempDir(), "journal")
			n, failed := 0, false
			fsys := &atomicfile.FS{Fault: func(atomicfile.Op, string, int64) (int, error) {
				if n++; n == step {
					failed = true
					return part, errors.New("fault")
				}
				return 0, nil
			}}
			j, err := Open(path, fsys, nil)
			for try := 0; err != nil && try < 2; try++ {
				j, err = Open(path, fsys, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := range 5 {
				for try := 0; ; try++ {
					err := j.Append(i)
					if err == nil {
						err = j.Sync()
					}
					if err == nil {
						break
					}
					if try > 0 {
						t.Fatalf("step %d: %v", step, err)
					}
				}
				want = append(want, fmt.Sprint(i))
				if got, err := entries(path); err != nil || !slices.Equal(got, want) {
					t.Fatalf("step %d, part %d, after %d: %q, %v", step, part, i, got, err)
				}
			}
			_ = j.Close()
			if !failed {
				return
			}
		}
	}
}

func TestReplayErrorEndsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	written(t, path, 3)
	stop := errors.New("enough")
	_, err := Open(path, nil, func(line int64, _ []byte) error {
		if line == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || !strings.Contains(err.Error(), "journal:2:") {
		t.Errorf("%v", err)
	}
}

func TestModeAndSymlink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	written(t, path, 1)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := entries(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	if _, err := Open(link, nil, nil); !errors.Is(err, atomicfile.ErrSymlink) {
		t.Errorf("a symlink: %v", err)
	}
}

// Whatever a journal holds, replaying neither panics nor gives an entry that does not read back as its line.
func FuzzReplay(f *testing.F) {
	f.Add(written(f, filepath.Join(f.TempDir(), "journal"), 4))
	f.Add([]byte("00000000 \n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var back []byte
		size, lines, err := Replay("x", bytes.NewReader(data), func(_ int64, e []byte) error {
			back = appendLine(back, e)
			return nil
		})
		if int64(len(back)) != size || !bytes.HasPrefix(data, back) || lines != int64(bytes.Count(back, []byte("\n"))) {
			t.Errorf("%d lines, %d bytes; written back: %q", lines, size, back)
		}
		rest := data[size:]
		if damaged := bytes.Count(rest, []byte("\n")) > 1 || bytes.Contains(rest, []byte("\n")) && !bytes.HasSuffix(rest, []byte("\n")); (err != nil) != damaged {
			t.Errorf("rest %q: %v", rest, err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	j, err := Open(filepath.Join(b.TempDir(), "journal"), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := j.Append(numbered{1, "0-31,40,44-47"}); err != nil {
			b.Fatal(err)
		}
	}
}
