package state

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/batchrun/batchrun/internal/atomicfile"
)

// lockDir takes the lock of a state directory, or says who has it with a *[LockedError].
func lockDir(dir string, now time.Time, command string) (*flock.Flock, error) {
	path := filepath.Join(dir, lockName)
	// OpenPrivate refuses a symlink in its place and makes the mode right.
	file, err := (*atomicfile.FS)(nil).OpenPrivate(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|atomicfile.NoFollow), flock.SetPermissions(0o600))
	// A verify looks whether the run is locked by locking it for a moment: that is no reason to refuse.
	got, err := lock.TryLock()
	for try := 0; try < 4 && err == nil && !got; try++ {
		time.Sleep(25 * time.Millisecond)
		got, err = lock.TryLock()
	}
	if err != nil {
		return nil, err
	}
	if !got {
		return nil, &LockedError{Dir: dir, Holder: readHolder(path)}
	}
	// Between open and lock the directory may have been moved aside with its lock file.
	mine, err1 := lock.Stat()
	there, err2 := os.Lstat(path)
	if err1 != nil || err2 != nil || !os.SameFile(mine, there) {
		return nil, errors.Join(errMoved, lock.Unlock())
	}
	host, _ := os.Hostname()
	data, err := json.Marshal(Holder{os.Getpid(), host, now.UTC().Truncate(time.Second), command})
	if err == nil {
		err = os.WriteFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return lock, nil
}

var errMoved = errors.New("state directory was moved meanwhile")

func readHolder(path string) (h Holder) {
	if data, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(data, &h)
	}
	return h
}

// HeldBy tells who works right now on the run in the state directory dir; nil if nobody does, or it cannot be told. It takes the
// lock for a moment only. What the holder has not written of itself yet is zero.
func HeldBy(dir string) *Holder {
	path := filepath.Join(dir, lockName)
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY|atomicfile.NoFollow))
	got, err := lock.TryRLock()
	if err == nil && got {
		_ = lock.Unlock()
		return nil
	}
	if err != nil {
		return nil
	}
	h := readHolder(path)
	return &h
}
