package state

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/batchrun/batchrun/sinks"
)

// Finish ends a run whose records are all done: it seals the Parquet file, drops the error rows that a retry
// round has replaced, and notes the exit code. It can be called again after an error, and after a crash it goes on
// where it was. It fails with [ErrUnfinished] while records are missing, as far as the input's length is known.
// ctx ends the sealing, which then starts over the next time.
func (r *Run) Finish(ctx context.Context, exit int) error {
	if r.closed {
		return ErrClosed
	}
	if r.p.finished {
		return nil
	}
	if err := r.complete(); err != nil {
		return err
	}
	if err := r.takeBack(); err != nil {
		return err
	}
	r.finishing = true
	if err := r.seal(ctx); err != nil {
		return err
	}
	if err := r.closeRound(ctx); err != nil {
		return err
	}
	counts := r.p.counts()
	return r.note(&entry{Type: entryFinished, At: r.now(), Exit: exit, Count: &counts})
}

// complete checks that every record has its row.
func (r *Run) complete() error {
	if n := r.p.todo.GetCardinality(); n > 0 {
		return fmt.Errorf("%w: %d are to be sent again", ErrUnfinished, n)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	var want int64
	for _, s := range r.spec.Frozen.Input {
		if s.SHA256 == "" {
			return fmt.Errorf("%w: how many %s has is not known", ErrUnfinished, s.Name)
		}
		want += s.Records
	}
	if got := r.p.counts().Total(); got != want {
		return fmt.Errorf("%w: %d rows for %d records", ErrUnfinished, got, want)
	}
	return nil
}

// seal makes the Parquet file of this round.
func (r *Run) seal(ctx context.Context) error {
	if !r.parquet() {
		return nil
	}
	if r.p.sealedRound == r.p.round {
		return r.removeSpool()
	}
	switch {
	case r.resealed(): // by an earlier try that failed after the rename
		if err := r.fs.SyncDir(filepath.Dir(r.opt.Output)); err != nil {
			return err
		}
	case r.p.sealed != nil && r.p.output.Size == 0:
		// Nothing new succeeded: the file stands as it is.
		return r.noteSeal(*r.p.sealed)
	default:
		if err := r.checkParquet(); err != nil { // nobody has put anything else there meanwhile
			return err
		}
		path, err := resolve(r.opt.Output)
		if err != nil {
			return err
		}
		if _, err := sinks.SealParquet(ctx, sinks.SealOptions{
			Path: path, Seal: r.sealID(), Spool: r.rows().Path, SpoolSize: r.p.output.Size,
			Old: r.p.sealed != nil, Rows: r.p.counts().Succeeded, FS: r.fs,
		}); err != nil {
			return fmt.Errorf("seal %s: %w", r.opt.Output, err)
		}
	}
	return r.noteSealed()
}

// noteSealed journals the Parquet file that stands.
func (r *Run) noteSealed() error {
	seal, got, err := sinks.ReadSeal(r.opt.Output)
	if err != nil {
		return err
	}
	return r.noteSeal(sealEntry{ID: seal, Rows: got.Rows, Size: got.Size})
}

func (r *Run) noteSeal(s sealEntry) error {
	if err := r.note(&entry{Type: entrySealed, At: r.now(), Seal: &s}); err != nil {
		return err
	}
	if r.out != nil {
		_ = r.out.Close()
	}
	return r.removeSpool()
}

// removeSpool deletes a spool whose rows are sealed.
func (r *Run) removeSpool() error {
	if err := r.fs.Remove(r.rows().Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// closeRound drops the error rows from before a retry round that the round has replaced.
func (r *Run) closeRound(ctx context.Context) error {
	if !r.p.roundOpen {
		return nil
	}
	if r.rewritten() {
		if err := r.fs.SyncDir(filepath.Dir(r.opt.Errors)); err != nil {
			return err
		}
		return r.noteClosed()
	}
	if err := r.checkErrors(); err != nil {
		return err
	}
	path, err := resolve(r.opt.Errors)
	if err != nil {
		return err
	}
	var mark sinks.Mark
	tmp, err := r.fs.WriteTemp(path, 0o666, func(w io.Writer) error {
		mark, err = r.keepErrors(ctx, w)
		return err
	})
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil {
		if err := os.Chmod(tmp, info.Mode().Perm()); err != nil {
			return errors.Join(err, r.fs.RemoveTemp(path))
		}
	}
	if err := r.note(&entry{Type: entryRewriting, At: r.now(), Errors: &mark}); err != nil {
		return errors.Join(err, r.fs.RemoveTemp(path))
	}
	if r.errs != nil {
		_ = r.errs.Close() // the descriptor is of the file that goes
	}
	if err := r.fs.Commit(tmp, path); err != nil {
		return fmt.Errorf("rewrite %s: %w", r.opt.Errors, err)
	}
	return r.noteClosed()
}

// noteClosed journals that the errors file was replaced.
func (r *Run) noteClosed() error {
	return r.note(&entry{Type: entryClosed, At: r.now(), Errors: r.p.rewriting})
}

// keepErrors writes the newest error row of each record that has no result.
func (r *Run) keepErrors(ctx context.Context, w io.Writer) (sinks.Mark, error) {
	var size, read int64
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	w = io.MultiWriter(w, sum)
	var kept, number int64
	for line, err := range sinks.Lines(r.opt.Errors, r.p.errors.Size) {
		number++
		if err == nil {
			err = context.Cause(ctx)
		}
		var keep bool
		if err == nil {
			keep, err = r.keepError(line, number, read >= r.p.roundStart)
		}
		if err == nil && keep {
			kept++
			size += int64(len(line))
			_, err = w.Write(line)
		}
		if err != nil {
			return sinks.Mark{}, fmt.Errorf("%s:%d: %w", r.opt.Errors, number, err)
		}
		read += int64(len(line))
	}
	counts := r.p.counts()
	if want := counts.Failed + counts.Rejected; kept != want {
		return sinks.Mark{}, fmt.Errorf("%s: %d error rows would remain, the journal counts %d", r.opt.Errors, kept, want)
	}
	return sinks.Mark{Size: size, Tail: size, CRC: sum.Sum32()}, nil
}

// keepError tells whether an error row, the number-th of its file, still stands.
func (r *Run) keepError(line []byte, number int64, ofRound bool) (bool, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if o := r.p.order; o != nil {
		if number > int64(len(o.errors)) {
			return false, errors.New("more rows than the journal counts")
		}
		return r.p.keepsError(o.errors[number-1], ofRound), nil
	}
	source, at, err := sinks.RowPlace(line)
	if err != nil {
		return false, err
	}
	pos, err := r.position(source, at)
	if err != nil {
		return false, err
	}
	return r.p.keepsError(pos, ofRound), nil
}

// resolve follows symlinks, so that a rename replaces the file and not the link.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return real, err
}
