package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
)

// An Op is a step that can fail.
type Op string

// The steps an [FS] takes.
const (
	OpOpen     Op = "open"
	OpWrite    Op = "write"
	OpSync     Op = "fsync"
	OpTruncate Op = "truncate"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpSyncDir  Op = "fsync directory"
)

// FS is the file system as durable code sees it. The nil *FS and the zero value are the operating
// system.
type FS struct {
	// Fault, if set, is asked before each step. size is the length of a write, and the new length of a
	// truncation. When it returns an error the step fails with it; of a write the first n bytes
	// are written all the same, as a full disk does it.
	Fault func(op Op, name string, size int64) (n int, err error)
}

func (f *FS) fault(op Op, name string, size int64) (int, error) {
	if f == nil || f.Fault == nil {
		return int(size), nil
	}
	n, err := f.Fault(op, name, size)
	if err != nil {
		err = &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return n, err
}

// A File is an open file whose steps can be made to fail.
type File struct {
	*os.File
	fs *FS
}

// OpenFile is [os.OpenFile].
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	if flag&(os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_RDWR) != 0 {
		if _, err := f.fault(OpOpen, name, 0); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &File{File: file, fs: f}, nil
}

// OpenPrivate opens a file that is the owner's alone: mode 0600 whatever the umask, and neither a
// symlink nor anything else but a regular file.
func (f *FS) OpenPrivate(name string, flag int) (*File, error) {
	switch info, err := os.Lstat(name); {
	case err != nil:
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrSymlink}
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	file, err := f.OpenFile(name, flag|NoFollow, 0o600)
	if err != nil {
		return nil, noFollowError(err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err == nil && info.Mode().Perm() != 0o600 {
		err = file.Chmod(0o600)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// Write is [os.File.Write].
func (f *File) Write(p []byte) (int, error) {
	n, err := f.fs.fault(OpWrite, f.Name(), int64(len(p)))
	if err == nil {
		return f.File.Write(p)
	}
	if n > 0 {
		n, _ = f.File.Write(p[:min(n, len(p))])
	}
	return n, err
}

// WriteString hides the method of [os.File], so that no write goes past a Fault.
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// Sync is [os.File.Sync].
func (f *File) Sync() error {
	if _, err := f.fs.fault(OpSync, f.Name(), 0); err != nil {
		return err
	}
	return f.File.Sync()
}

// Truncate is [os.File.Truncate].
func (f *File) Truncate(size int64) error {
	if _, err := f.fs.fault(OpTruncate, f.Name(), size); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Rename is [os.Rename].
func (f *FS) Rename(from, to string) error {
	if _, err := f.fault(OpRename, to, 0); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// Remove is [os.Remove].
func (f *FS) Remove(name string) error {
	if _, err := f.fault(OpRemove, name, 0); err != nil {
		return err
	}
	return os.Remove(name)
}

// MkdirPrivate makes one directory of mode 0700, whatever the umask.
func (f *FS) MkdirPrivate(name string) error {
	if _, err := f.fault(OpMkdir, name, 0); err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		return err
	}
	return os.Chmod(name, 0o700)
}

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(name string) error {
	if _, err := f.fault(OpSyncDir, name, 0); err != nil {
		return err
	}
	if err := syncDir(name); err != nil {
		return fmt.Errorf("fsync directory %s: %w", name, err)
	}
	return nil
}
