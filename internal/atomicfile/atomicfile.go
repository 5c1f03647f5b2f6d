// Package atomicfile replaces files whole or not at all, and opens files that only their owner
// may see.
//
// [FS.Write] writes a temporary file beside the target, fsyncs it, renames it over the target and
// fsyncs the directory: after a crash the target holds either the old bytes or the new ones. The
// temporary file is named .NAME.batchrun-tmp, so that one left behind by a crash is overwritten by the
// next try, and [FS.RemoveTemp] finds it.
//
// All of it goes through an [FS], which tests make fail at any chosen step. A nil *FS is the
// operating system.
//
// On Windows directories cannot be fsynced and symlinks are not refused by open: there the
// package works without its promises.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TempName is the name of the temporary file that stands for name until it is whole.
func TempName(name string) string {
	dir, base := filepath.Split(name)
	return dir + "." + base + ".batchrun-tmp"
}

// Write replaces name by what write writes. See [FS.Write].
func Write(name string, perm fs.FileMode, write func(w io.Writer) error) error {
	return (*FS)(nil).Write(name, perm, write)
}

// Write replaces name by what write writes, with mode perm less the umask. When it returns nil the
// new file is durable; when it fails before the rename, name is untouched and nothing is left behind. Only an
// error of the directory's own fsync leaves the new file in place.
func (f *FS) Write(name string, perm fs.FileMode, write func(w io.Writer) error) error {
	tmp, err := f.WriteTemp(name, perm, write)
	if err != nil {
		return err
	}
	return f.Commit(tmp, name)
}

// WriteTemp does the first half of [FS.Write]: it makes the temporary file of name durable and
// returns its path. [FS.Commit] is the other half.
func (f *FS) WriteTemp(name string, perm fs.FileMode, write func(w io.Writer) error) (_ string, err error) {
	tmp := TempName(name)
	if err := f.RemoveTemp(name); err != nil {
		return "", err
	}
	file, err := f.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|NoFollow, perm)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", name, err), ignore(file.Close()), ignore(f.Remove(tmp)))
		}
	}()
	w := bufio.NewWriterSize(file, 256<<10)
	if err := write(w); err != nil {
		return "", err
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	if err := file.Sync(); err != nil {
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	return tmp, nil
}

// Commit renames tmp over name and makes the rename durable. When the rename fails tmp is removed.
func (f *FS) Commit(tmp, name string) error {
	if err := f.Rename(tmp, name); err != nil {
		return errors.Join(err, ignore(f.Remove(tmp)))
	}
	return f.SyncDir(filepath.Dir(name))
}

// Scratch opens an empty file beside name to write and to read, the owner's alone, that goes with its process: it has no name any more
// where the system allows that of an open file, and that of the temporary file of name where it does not. So does one that a kill left
// between the two, until the next call. Calls at the same time, of other processes as well, get files of their own.
func Scratch(name string) (*os.File, error) {
	tmp := TempName(name)
	for {
		if err := (*FS)(nil).RemoveTemp(name); err != nil {
			return nil, err
		}
		file, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL|NoFollow, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue // another process's, which is about to take its name away
		}
		if err != nil {
			return nil, err
		}
		_ = os.Remove(tmp)
		return file, nil
	}
}

// RemoveTemp removes what a crash may have left of an earlier [FS.Write] of name.
func (f *FS) RemoveTemp(name string) error {
	if err := f.Remove(TempName(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ignore drops an error that says nothing beyond the one it would be joined to: cleaning up is
// best effort, the next try cleans up again.
func ignore(error) error { return nil }
