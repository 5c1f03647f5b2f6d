package state

import (
	"fmt"
	"path/filepath"

	"github.com/batchrun/batchrun/internal/atomicfile"
)

// startAfresh moves an old run aside: its output, its errors, its state.
func startAfresh(opt Options) error {
	lock, err := lockDir(opt.Dir, opt.Now(), opt.Command)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }() // it dies with the process at the latest
	if owner := errorsOwner(opt); owner != "" && exists(opt.Errors) {
		return checkErrorsNew(opt)
	}
	return moveAside(opt.fs, opt.Output, opt.Errors, opt.Dir)
}

// moveAside renames what exists of the paths to PATH.old-N, with the first N that is free for all of them. The
// last is moved last, so that a crash in between leaves a state that refuses to go on without its files.
func moveAside(fsys *atomicfile.FS, paths ...string) error {
	n := 1
	for taken := true; taken; {
		taken = false
		for _, p := range paths {
			if exists(oldName(p, n)) {
				n, taken = n+1, true
				break
			}
		}
	}
	for _, p := range paths {
		if !exists(p) {
			continue
		}
		if err := fsys.Rename(p, oldName(p, n)); err != nil {
			return fmt.Errorf("move aside: %w", err)
		}
		if err := fsys.SyncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

func oldName(path string, n int) string { return fmt.Sprintf("%s.old-%d", path, n) }
