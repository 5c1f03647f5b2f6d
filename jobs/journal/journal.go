package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/batchrun/batchrun/internal/atomicfile"
)

// MaxEntry bounds the JSON of one entry.
const MaxEntry = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Journal is open for appending. It is not safe for concurrent use.
type Journal struct {
	path    string
	fs      *atomicfile.FS
	file    *atomicfile.File
	durable int64 // the journal ends here once everything else is forgotten
	written int64 // appended so far, durable or not
	lines   int64
	dirty   bool // the file may hold more than durable bytes, or its descriptor is not to be trusted
	buf     []byte
}

// Open opens the journal at path, making it where it does not exist, and hands each entry to replay in
// order. The slice is valid until replay returns. An error of replay ends Open. The file is not written to
// before the first [Journal.Append].
func Open(path string, fsys *atomicfile.FS, replay func(line int64, entry []byte) error) (*Journal, error) {
	file, err := fsys.OpenPrivate(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, fs: fsys, file: file}
	info, err := file.Stat()
	if err == nil {
		j.durable, j.lines, err = Replay(path, file, replay)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	j.written = j.durable
	// A process that was killed between write and fsync leaves entries that were read just now out of
	// the page cache and may still vanish. Whatever builds on them is appended, and the fsync that follows
	// an append covers them too; a torn tail is cut by Repair before that.
	j.dirty = info.Size() != j.durable
	_, err = file.Seek(j.durable, io.SeekStart)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return j, nil
}

// Append adds one entry, as JSON without newlines. It is durable after [Journal.Sync] only. When Append or Sync
// fails, everything since the last successful Sync is forgotten and must be appended anew.
func (j *Journal) Append(entry any) error {
	data, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if len(data) > MaxEntry {
		return fmt.Errorf("journal: an entry of %d bytes is longer than %d", len(data), MaxEntry)
	}
	if err := j.Repair(); err != nil {
		return err
	}
	j.buf = appendLine(j.buf[:0], data)
	j.dirty = true
	n, err := j.file.Write(j.buf)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.written += int64(n)
	j.dirty = false
	return nil
}

// Sync makes all entries durable that were appended.
func (j *Journal) Sync() error {
	if err := j.Repair(); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		// After a failed fsync the kernel may call pages clean that it never wrote. Neither they nor
		// the descriptor are trusted again.
		j.dirty = true
		return fmt.Errorf("journal: %w", err)
	}
	j.durable = j.written
	return nil
}

// Repair cuts off what a failed Append or Sync may have left behind, durably. It does nothing where nothing
// failed. Whoever takes back what an entry told of (by truncating an output, say) calls it first:
// otherwise the entry may outlive what it tells of.
func (j *Journal) Repair() error {
	if !j.dirty {
		return nil
	}
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
	file, err := j.fs.OpenPrivate(j.path, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := cut(file, j.durable); err != nil {
		_ = file.Close()
		return fmt.Errorf("journal: %w", err)
	}
	j.file, j.written, j.dirty = file, j.durable, false
	return nil
}

func cut(file *atomicfile.File, size int64) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < size {
		return fmt.Errorf("%s is %d bytes, shorter than the %d that were durable", file.Name(), info.Size(), size)
	}
	if err := file.Truncate(size); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	_, err = file.Seek(size, io.SeekStart)
	return err
}

// Size is the length that is durable.
func (j *Journal) Size() int64 { return j.durable }

// Close closes the file. What was not synced may be lost.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	j.dirty = true
	return err
}

// ErrCorrupt is damage before the last line. The error that wraps it is a *[CorruptError].
var ErrCorrupt = errors.New("journal is damaged")

// A CorruptError says where a journal is damaged.
type CorruptError struct {
	Path   string
	Line   int64 // counted from 1
	Reason string
}

// Error names the place and what is wrong there.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s:%d: %v: %s", e.Path, e.Line, ErrCorrupt, e.Reason)
}

// Unwrap gives [ErrCorrupt].
func (e *CorruptError) Unwrap() error { return ErrCorrupt }
