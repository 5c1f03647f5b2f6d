package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/sinks"
)

// A Run is open and locked. It is the [pipeline.Store] of its run.
//
// One goroutine calls Commit, Finish and Close; all other methods may be called concurrently with them.
type Run struct {
	opt  Options
	fs   *atomicfile.FS
	spec *spec
	lock *flock.Flock

	journal   *journal.Journal
	out, errs *sinks.JSONL // nil in a run that is finished
	dirty     bool         // a commit failed: journal and files may hold more than counts
	finishing bool         // Finish has begun to change files
	closed    bool

	first map[string]int64 // position before the first line of each source, where it is known

	justBegun bool // this opening froze the settings

	mu      sync.RWMutex
	p       *progress
	resumed bool
	notes   []string
}

var _ pipeline.Store = (*Run)(nil)

// ID names the run: 16 hex digits, drawn when it began.
func (r *Run) ID() string { return r.spec.Run }

// Dir is the state directory.
func (r *Run) Dir() string { return r.opt.Dir }

// OutputPath is where the results go, and ErrorsPath where the error rows go, as absolute paths.
func (r *Run) OutputPath() string { return r.opt.Output }

// ErrorsPath is where the error rows go, as an absolute path.
func (r *Run) ErrorsPath() string { return r.opt.Errors }

// Frozen is what the run was started with. On a resume its sources have the names they had then, whatever their
// paths are now: rows are to carry these.
func (r *Run) Frozen() Frozen {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f := r.spec.Frozen
	f.Input = slices.Clone(f.Input)
	return f
}

// Resumed tells whether the run was there before this opening.
func (r *Run) Resumed() bool { return r.resumed }

// Notes says what opening found and did beyond the ordinary, one line each.
func (r *Run) Notes() []string { return r.notes }

// Round is 0 for the first pass, and counts the retry rounds.
func (r *Run) Round() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.p.round
}

// ToRetry is how many records this retry round still has to send again.
func (r *Run) ToRetry() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return int64(r.p.todo.GetCardinality())
}

// Done tells whether the record at a position is not to be sent: it has succeeded, or it has failed or was
// rejected and is not one of those a retry round sends again.
func (r *Run) Done(pos int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.p.done(pos)
}

// Counts are the records with a row. A record of a retry round counts as failed until it has succeeded.
func (r *Run) Counts() Counts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.p.counts()
}

// Finished tells whether the run was finished, and with which exit code.
func (r *Run) Finished() (exit int, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.p.exit, r.p.finished
}

// Sessions are the openings of the run that worked on it, this one included.
func (r *Run) Sessions() []Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.p.sessions)
}

// Usage yields what was used since a time, by the minute of the clock and with the last time of use in it: for a limiter whose quota
// outlives a process. It goes back a day at most. Only what rows say was used is in it.
func (r *Run) Usage(since time.Time) iter.Seq2[time.Time, Used] {
	r.mu.RLock()
	minutes := slices.Clone(r.p.used.minutes)
	r.mu.RUnlock()
	return func(yield func(time.Time, Used) bool) {
		for _, m := range minutes {
			if m.at.After(since) && !yield(m.at, m.Used) {
				return
			}
		}
	}
}

// Answers is what the rows of the run have used, over all its sessions, and of that what was used in sessions that were not
// [Options].Counted. What failed or was cut is in neither.
func (r *Run) Answers() (all, uncounted Used) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.p.answers, r.p.uncounted
}

// LearnInput keeps fingerprints that became known while the run went on, as of standard input. Names stay as they are.
func (r *Run) LearnInput(input []Source) error {
	if r.closed {
		return ErrClosed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(input) != len(r.spec.Frozen.Input) {
		return fmt.Errorf("state: %d inputs where the run has %d", len(input), len(r.spec.Frozen.Input))
	}
	s := *r.spec
	s.Frozen.Input = slices.Clone(input)
	for i := range input {
		s.Frozen.Input[i].Name = r.spec.Frozen.Input[i].Name
	}
	if err := writeSpec(r.fs, r.opt.Dir, &s); err != nil {
		return err
	}
	r.spec = &s
	r.first = firstPositions(s.Frozen.Input)
	return nil
}

// firstPositions tells where the lines of each source begin, up to the first whose length is not known.
func firstPositions(input []Source) map[string]int64 {
	first := map[string]int64{}
	var pos int64
	for _, s := range input {
		first[s.Name] = pos
		if s.SHA256 == "" {
			break
		}
		pos += s.Lines
	}
	return first
}

// position is where a line stands over all sources. The caller holds mu.
func (r *Run) position(source string, line int64) (int64, error) {
	first, ok := r.first[source]
	if !ok {
		return 0, fmt.Errorf("%s is none of the inputs of this run", source)
	}
	return first + line - 1, nil
}

// Commit makes a batch durable: rows first, then the journal entry that counts them. When it fails nothing of the
// batch counts, and the same batch may be given again. It refuses a batch with a record that is done already
// with [ErrAlreadyDone]. ctx is looked at before anything is written only.
func (r *Run) Commit(ctx context.Context, batch []*pipeline.Result) error {
	switch {
	case r.closed:
		return ErrClosed
	case r.out == nil || r.finishing || r.p.sealedRound == r.p.round:
		return ErrFinished
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if len(batch) == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	e, results, faults, err := r.sort(batch)
	if err != nil {
		return err
	}
	if err := r.takeBack(); err != nil {
		return err
	}
	r.dirty = true
	if len(results) > 0 {
		mark, err := r.out.Write(ctx, results)
		if err != nil {
			return err
		}
		e.Output = &mark
	}
	if len(faults) > 0 {
		mark, err := r.errs.Write(ctx, faults)
		if err != nil {
			return err
		}
		e.Errors = &mark
	}
	if err := r.note(e); err != nil {
		return err
	}
	r.dirty = false
	return nil
}

// sort makes the entry of a batch, and tells results from errors. It checks all that could be wrong with the
// batch, so that the entry will be accepted when its rows are written.
func (r *Run) sort(batch []*pipeline.Result) (e *entry, results, faults []*pipeline.Result, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var ok, failed, rejected []int64
	seen := make(map[int64]bool, len(batch))
	for _, res := range batch {
		rec := res.Record
		if (res.Err == nil) == (res.Response == nil) {
			return nil, nil, nil, fmt.Errorf("state: %s: a result needs exactly one of a response and an error", rec.Place())
		}
		pos, err := r.position(rec.Source, rec.Line)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("state: %s: %w", rec.Place(), err)
		}
		if pos != rec.Pos || pos < 0 {
			return nil, nil, nil, fmt.Errorf("state: %s: is at position %d, not %d", rec.Place(), pos, rec.Pos)
		}
		if seen[pos] || r.p.done(pos) {
			return nil, nil, nil, fmt.Errorf("state: %s: %w", rec.Place(), ErrAlreadyDone)
		}
		seen[pos] = true
		switch {
		case res.Err == nil:
			ok = append(ok, pos)
			results = append(results, res)
			continue
		case res.Rejected():
			rejected = append(rejected, pos)
		default:
			failed = append(failed, pos)
		}
		faults = append(faults, res)
	}
	if r.p.order != nil {
		inOrder(results)
		inOrder(faults)
	}
	e = &entry{
		Type: entryCommit, At: r.now(),
		OK: formatRanges(ok), Failed: formatRanges(failed), Rejected: formatRanges(rejected),
	}
	if !r.opt.PaidElsewhere {
		used := usedBy(batch)
		e.Used = &used
	}
	return e, results, faults, nil
}

// takeBack undoes what a failed commit may have left: the journal first, because an entry must never outlive
// the rows it counts.
func (r *Run) takeBack() error {
	if !r.dirty {
		return nil
	}
	if err := r.journal.Repair(); err != nil {
		return err
	}
	r.out.CutTo(r.p.output)
	r.errs.CutTo(r.p.errors)
	r.dirty = false
	return nil
}

// note makes an entry durable, then takes it in.
func (r *Run) note(e *entry) error {
	if err := r.journal.Append(e); err != nil {
		return err
	}
	if err := r.journal.Sync(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.p.apply(e)
}

func (r *Run) now() time.Time { return r.opt.Now().UTC().Truncate(time.Microsecond) }

// Close releases the run. What Commit returned nil for stays.
func (r *Run) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	var errs []error
	for _, c := range []io.Closer{r.out, r.errs} {
		if s := c.(*sinks.JSONL); s != nil {
			errs = append(errs, s.Close())
		}
	}
	if r.journal != nil {
		errs = append(errs, r.journal.Close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Unlock())
	}
	return errors.Join(errs...)
}

// exists tells whether there is anything at a path, a dangling symlink included.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
