//go:build unix

package state

import (
	"io/fs"
	"os"
	"syscall"
)

// foreign tells whether a file belongs to another user.
func foreign(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) != os.Geteuid()
}
