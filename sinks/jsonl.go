package sinks

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/pipeline"
)

// JSONLOptions says what [OpenJSONL] opens.
type JSONLOptions struct {
	Path string
	// Mark is where the file is taken up. Zero: at its beginning.
	Mark Mark
	// Private makes the file the owner's alone and refuses symlinks, for files in a state directory.
	Private bool
	// Keep is the directory in which bytes past the mark are kept before they are cut off. Required if
	// there can be any.
	Keep string
	Rows Rows
	FS   *atomicfile.FS // nil: the operating system
}

// JSONL appends rows to a file. It is not safe for concurrent use.
type JSONL struct {
	opt   JSONLOptions
	file  *atomicfile.File // nil: to be opened
	mark  Mark             // durable and counted
	dirty bool             // the file may hold more, or its descriptor is not to be trusted
	buf   []byte           // kept between batches
}

// ErrNotOurs says that a file is not what a mark was taken of.
var ErrNotOurs = errors.New("not the file as this run left it")

// OpenJSONL opens a file that exists, at a mark. Whatever is past the mark was not counted: it is copied to a file
// uncounted-N in Keep, then cut off.
func OpenJSONL(opt JSONLOptions) (*JSONL, error) {
	if err := CheckMark(opt.Path, opt.Mark); err != nil {
		return nil, err
	}
	s := &JSONL{opt: opt, mark: opt.Mark, dirty: true}
	info, err := os.Stat(opt.Path)
	if err != nil {
		return nil, err
	}
	if info.Size() > opt.Mark.Size {
		if err := keepTail(opt); err != nil {
			return nil, fmt.Errorf("keep what is past the mark of %s: %w", opt.Path, err)
		}
	}
	if err := s.reopen(); err != nil {
		return nil, err
	}
	return s, nil
}

// CreateJSONL makes an empty file that must not exist yet, durably, and closes it.
func CreateJSONL(opt JSONLOptions) error {
	file, err := opt.open(os.O_CREATE | os.O_EXCL)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return opt.FS.SyncDir(filepath.Dir(opt.Path))
}

func (o JSONLOptions) open(flag int) (*atomicfile.File, error) {
	if o.Private {
		return o.FS.OpenPrivate(o.Path, flag|os.O_RDWR)
	}
	return o.FS.OpenFile(o.Path, flag|os.O_RDWR, 0o666)
}

// CheckMark reports, with an error that wraps [ErrNotOurs] or [os.ErrNotExist], that a file cannot be taken up at a
// mark: it is missing, shorter, or the bytes before the mark are others. It changes nothing.
func CheckMark(path string, mark Mark) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w: not a regular file", path, ErrNotOurs)
	}
	if info.Size() < mark.Size {
		return fmt.Errorf("%s: %w: %d bytes, %d are counted", path, ErrNotOurs, info.Size(), mark.Size)
	}
	if mark.Tail == 0 {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(file, mark.Size-mark.Tail, mark.Tail)); err != nil {
		return err
	}
	if sum.Sum32() != mark.CRC {
		return fmt.Errorf("%s: %w: the %d bytes before byte %d have changed", path, ErrNotOurs, mark.Tail, mark.Size)
	}
	return nil
}

// keepTail copies what is past the mark to a new file in opt.Keep, durably.
func keepTail(opt JSONLOptions) error {
	if opt.Keep == "" {
		return errors.New("no directory to keep it in")
	}
	from, err := os.Open(opt.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := from.Seek(opt.Mark.Size, io.SeekStart); err != nil {
		return err
	}
	var to *atomicfile.File
	for n := 1; ; n++ {
		name := filepath.Join(opt.Keep, fmt.Sprintf("uncounted-%d", n))
		to, err = opt.FS.OpenPrivate(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10))
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		_ = opt.FS.Remove(to.Name())
		return err
	}
	return opt.FS.SyncDir(opt.Keep)
}

// Write appends the rows of a batch and returns once they are durable. When it fails nothing of the batch
// counts, and the same batch may be given again: what was written of it is cut off first.
func (s *JSONL) Write(ctx context.Context, batch []*pipeline.Result) (Mark, error) {
	if err := context.Cause(ctx); err != nil {
		return s.mark, err
	}
	if err := s.reopen(); err != nil {
		return s.mark, err
	}
	if len(batch) == 0 {
		return s.mark, nil
	}
	s.dirty = true
	sum := &summingWriter{w: s.file}
	enc := rowEncoder{w: sum, buf: s.buf[:0], rows: s.opt.Rows}
	for _, r := range batch {
		enc.row(r)
	}
	enc.flush()
	if s.buf = enc.buf; cap(s.buf) > 8*flushAt { // one long answer is no reason to keep its memory
		s.buf = nil
	}
	if enc.err != nil {
		return s.mark, fmt.Errorf("write rows: %w", enc.err)
	}
	if err := s.file.Sync(); err != nil {
		// The kernel may now call pages clean that it never wrote: the descriptor is not trusted again.
		return s.mark, fmt.Errorf("write rows: %w", err)
	}
	s.dirty = false
	s.mark = Mark{Size: s.mark.Size + sum.n, Tail: sum.n, CRC: sum.crc}
	return s.mark, nil
}

// CutTo takes back what was written after an earlier mark. The file itself is cut before the next write, or
// when it is opened again.
func (s *JSONL) CutTo(mark Mark) {
	s.mark = mark
	s.dirty = true
}

// Mark is where the file is durable and counted.
func (s *JSONL) Mark() Mark { return s.mark }

// reopen makes the file end at the mark, after something may have gone wrong.
func (s *JSONL) reopen() error {
	if !s.dirty {
		return nil
	}
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
	file, err := s.opt.open(0)
	if err != nil {
		return fmt.Errorf("open rows: %w", err)
	}
	if err := cut(file, s.mark.Size); err != nil {
		_ = file.Close()
		return fmt.Errorf("cut %s to its mark: %w", s.opt.Path, err)
	}
	s.file, s.dirty = file, false
	return nil
}

func cut(file *atomicfile.File, size int64) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	switch {
	case info.Size() < size:
		return fmt.Errorf("%w: %d bytes, %d are counted", ErrNotOurs, info.Size(), size)
	case info.Size() > size:
		if err := file.Truncate(size); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	_, err = file.Seek(size, io.SeekStart)
	return err
}

// Close closes the file. Rows that Write returned a mark for stay.
func (s *JSONL) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file, s.dirty = nil, true
	return err
}

// A summingWriter counts and sums what goes through it.
type summingWriter struct {
	w   io.Writer
	n   int64
	crc uint32
}

func (s *summingWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	s.crc = crc32.Update(s.crc, castagnoli, p[:n])
	return n, err
}
