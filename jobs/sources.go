package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/input"
)

// hashesName is the file of the state directory that has 8 bytes for each line of the input, see input.Scan.
const hashesName = "input.lines"

// private opens files of the state directory: the owner's alone, and no symlinks.
var private *atomicfile.FS

// sources is the input of a run, and what is remembered of it from one session to the next.
type sources struct {
	files    []input.File
	stdin    bool
	whole    bool            // the standard input was read to its end in an earlier session
	prints   []input.Print   // none for the standard input
	template *input.Template // nil: lines say themselves what they are
	notice   func(string)    // is told which forms of lines there are
	// scanned is a temporary file with the hashes of a first scan, until the state directory is there.
	scanned *os.File
}

// findSources expands what the user named.
func findSources(patterns []string) (*sources, error) {
	names, err := input.Expand(patterns)
	if err != nil {
		return nil, err
	}
	s := &sources{files: input.Files(names)}
	s.stdin = len(s.files) == 0 || s.files[0].Path == input.Stdin
	return s, nil
}

// scan reads the input once before anything is sent, so that a change can be told later. The
// standard input is hashed as it is read instead.
func (s *sources) scan(ctx context.Context, dir string) error {
	if s.stdin {
		return nil
	}
	var err error
	if s.scanned, err = atomicfile.Scratch(dir); err != nil {
		return err
	}
	s.prints, err = input.Scan(ctx, s.files, s.scanned)
	return err
}

// keep copies the hashes of a scan into the state directory.
func (s *sources) keep(dir string) error {
	if s.scanned == nil {
		return nil
	}
	defer s.forget()
	return atomicfile.Write(filepath.Join(dir, hashesName), 0o600, func(w io.Writer) error {
		if _, err := s.scanned.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(w, s.scanned)
		return err
	})
}

// forget closes the scan.
func (s *sources) forget() {
	if s.scanned != nil {
		_ = s.scanned.Close()
		_ = os.Remove(s.scanned.Name()) // where an open file keeps its name
		s.scanned = nil
	}
}

// resume takes up the input of an earlier session: the names stay what they were, the files
// may have moved. It returns the first difference in content.
func (s *sources) resume(ctx context.Context, dir string, old []state.Source) error {
	wasStdin := len(old) == 1 && old[0].Path == input.Stdin
	if wasStdin != s.stdin {
		return fmt.Errorf("the run began with %s", was(wasStdin))
	}
	if s.stdin {
		s.whole = old[0].SHA256 != ""
		return nil
	}
	for _, o := range old {
		s.prints = append(s.prints, input.Print{
			Name: o.Name, Size: o.Size, ModTime: o.ModTime, Lines: o.Lines, Records: o.Records, SHA256: o.SHA256,
		})
	}
	hashes, err := private.OpenPrivate(filepath.Join(dir, hashesName), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return s.rescan(ctx, dir)
	}
	if err != nil {
		return err
	}
	defer hashes.Close()
	// A power cut may have torn them: they are written after the run has begun.
	if info, err := hashes.Stat(); err != nil || info.Size() != input.HashSize*lines(old) {
		return s.rescan(ctx, dir)
	}
	diff, err := input.Compare(ctx, s.files, s.prints, hashes)
	if err != nil {
		return err
	}
	if diff != nil {
		return diff
	}
	for i := range s.files {
		s.files[i].Name = old[i].Name
	}
	return nil
}

// lines counts the lines of all sources.
func lines(in []state.Source) (n int64) {
	for _, s := range in {
		n += s.Lines
	}
	return n
}

// rescan makes the hashes again where a run was cut short before they were durable.
func (s *sources) rescan(ctx context.Context, dir string) error {
	before := s.prints
	if err := s.scan(ctx, dir); err != nil {
		return err
	}
	for i, p := range s.prints {
		if i >= len(before) || len(s.prints) != len(before) || p.SHA256 != before[i].SHA256 {
			return fmt.Errorf("%s: its content has changed since the run began", p.Name)
		}
		s.files[i].Name = before[i].Name
	}
	s.prints = before
	return nil
}

func was(stdin bool) string {
	if stdin {
		return "the standard input"
	}
	return "files"
}

// frozen is the input as the state keeps it.
func (s *sources) frozen() []state.Source {
	if s.stdin {
		return []state.Source{{Name: "stdin", Path: input.Stdin}}
	}
	var out []state.Source
	for i, f := range s.files {
		src := state.Source{Name: f.Name, Path: f.Path}
		if i < len(s.prints) {
			p := s.prints[i]
			src.Size, src.ModTime, src.Lines, src.Records, src.SHA256 = p.Size, p.ModTime, p.Lines, p.Records, p.SHA256
		}
		out = append(out, src)
	}
	return out
}

// records is how many there are, if that is known beforehand.
func (s *sources) records() (n int64, known bool) {
	if len(s.prints) == 0 { // nothing was scanned: the standard input, or rows that are only streamed
		return 0, false
	}
	for _, p := range s.prints {
		n += p.Records
	}
	return n, true
}

// open starts the reader. Dir is the state directory, "" for a run without one.
func (s *sources) open(dir string, strict bool, stdin io.Reader, skip func(int64) bool) (*reader, error) {
	r := &reader{dir: dir, stdin: s.stdin}
	opt := input.Options{Files: s.files, Stdin: stdin, Skip: skip, Strict: strict, Template: s.template, Notice: s.notice}
	if dir != "" {
		if err := r.openHashes(&opt, s.whole); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	var err error
	if r.Reader, err = input.Open(opt); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// A reader is an input.Reader with the files it holds open.
type reader struct {
	*input.Reader
	dir   string
	stdin bool
	files []io.Closer
	sink  *atomicfile.File             // of the standard input's hashes
	ended atomic.Bool                  // the input was read to its end
	check func(*pipeline.Record) error // with --strict, whether the model takes a record; nil for not asking
}

func (r *reader) openHashes(opt *input.Options, whole bool) error {
	name := filepath.Join(r.dir, hashesName)
	if !r.stdin {
		f, err := private.OpenPrivate(name, os.O_RDONLY)
		if err != nil {
			return err
		}
		r.files = append(r.files, f)
		opt.Hashes = f
		return nil
	}
	opt.OldWhole = whole
	sink, err := private.OpenPrivate(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	r.files, r.sink = append(r.files, sink), sink
	// A hash that a crash has torn is cut off; the next one goes where it stood.
	end, err := sink.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	end -= end % input.HashSize
	if err := sink.Truncate(end); err != nil {
		return err
	}
	opt.OldHashes = io.NewSectionReader(sink, 0, end)
	opt.HashSink = io.NewOffsetWriter(sink, end)
	return nil
}

// Next is a pipeline.Source's.
func (r *reader) Next(ctx context.Context) (*pipeline.Record, error) {
	rec, err := r.Reader.Next(ctx)
	if errors.Is(err, io.EOF) {
		r.ended.Store(true)
	}
	if err != nil || r.check == nil {
		return rec, err
	}
	if fault, ok := errors.AsType[*pipeline.Fault](r.check(rec)); ok {
		return nil, &input.StrictError{Source: rec.Source, Line: rec.Line, Fault: fault}
	}
	return rec, nil
}

// Sync makes the hashes of the lines read so far durable; those of files are already.
func (r *reader) Sync() error {
	if err := r.Flush(); err != nil || r.sink == nil {
		return err
	}
	return r.sink.Sync()
}

// Close closes the reader and what it holds.
func (r *reader) Close() error {
	var errs []error
	if r.Reader != nil {
		errs = append(errs, r.Reader.Close())
	}
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
