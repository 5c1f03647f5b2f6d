package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

func put(data string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, data)
		return err
	}
}

// Whatever step fails, the file is the old one or the new one, and nothing else is left.
func TestEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		name := filepath.Join(t.TempDir(), "file")
		if err := Write(name, 0o644, put("old")); err != nil {
			t.Fatal(err)
		}
		n := 0
		var hit Op
		f := &FS{Fault: func(op Op, _ string, size int64) (int, error) {
			if n++; n == step {
				hit = op
				return 1, errors.New("fault")
			}
			return int(size), nil
		}}
		err := f.Write(name, 0o644, put("new"))
		data, rerr := os.ReadFile(name)
		if rerr != nil {
			t.Fatal(rerr)
		}
		left, _ := os.ReadDir(filepath.Dir(name))
		if hit == "" {
			if err != nil || string(data) != "new" || step < 6 {
				t.Errorf("%q, %v after %d steps", data, err, step)
			}
			return
		}
		if want := map[bool]string{true: "new", false: "old"}[hit == OpSyncDir]; err == nil || string(data) != want || len(left) != 1 {
			t.Errorf("step %d (%s) fails: %q, want %q; %d files; %v", step, hit, data, want, len(left), err)
		}
	}
}

func TestWriterFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	stop := errors.New("no")
	if err := Write(name, 0o644, func(io.Writer) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(name)); len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestLeftoverAndSymlink(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, TempName(name)); err != nil {
		t.Skip(err)
	}
	if err := Write(name, 0o640, put("new")); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(victim); string(data) != "safe" {
		t.Errorf("wrote through a symlink: %q", data)
	}
	if info, err := os.Lstat(name); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestOpenPrivate(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	var f *FS
	if _, err := f.OpenPrivate(link, os.O_RDWR); !errors.Is(err, ErrSymlink) {
		t.Errorf("symlink: %v", err)
	}
	if _, err := f.OpenFile(link, os.O_RDWR|NoFollow, 0); !errors.Is(noFollowError(err), ErrSymlink) {
		t.Errorf("symlink made meanwhile: %v", err)
	}
	if _, err := f.OpenPrivate(dir, os.O_RDONLY); !errors.Is(err, ErrNotRegular) {
		t.Errorf("directory: %v", err)
	}
	got, err := f.OpenPrivate(file, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if info, _ := got.Stat(); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// What a kill left is gone with the next call, a symlink there is not followed, and calls at the same time do not write to each other's file.
func TestScratch(t *testing.T) {
	name := filepath.Join(t.TempDir(), "dir")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, TempName(name)); err != nil {
		t.Skip(err)
	}
	const calls = 64
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			file, err := Scratch(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			want := fmt.Sprint(i)
			if err := put(want)(file); err != nil {
				t.Error(err)
			}
			runtime.Gosched()
			if data, err := io.ReadAll(io.NewSectionReader(file, 0, 100)); string(data) != want {
				t.Errorf("%q, %v, want %q", data, err, want)
			}
		})
	}
	wg.Wait()
	if data, _ := os.ReadFile(victim); string(data) != "safe" {
		t.Errorf("wrote through a symlink: %q", data)
	}
	if left, _ := os.ReadDir(filepath.Dir(name)); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}
