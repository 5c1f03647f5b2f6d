//go:build unix

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// NoFollow is the flag that makes open refuse a symlink.
const NoFollow = syscall.O_NOFOLLOW

func noFollowError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, syscall.ELOOP) {
		return &fs.PathError{Op: pe.Op, Path: pe.Path, Err: ErrSymlink}
	}
	return err
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	// Some network file systems cannot fsync a directory and say so: their renames are as durable as they get.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
