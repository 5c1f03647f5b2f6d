package atomicfile

import "errors"

// ErrSymlink is what opening a private file gives that is a symlink.
var ErrSymlink = errors.New("is a symlink, which is refused here")

// ErrNotRegular is what opening a private file gives that is a directory, a device or a pipe.
var ErrNotRegular = errors.New("is not a regular file")
