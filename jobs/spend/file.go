package spend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/jobs/words"
	"github.com/batchrun/batchrun/pipeline"
)

// FileName is the file's name in a state directory.
const FileName = "spending"

// growth is by how much the file may grow until it is replaced by its sums.
const growth = 16 << 20

// line is one entry of the file.
type line struct {
	Start   *start `json:"start,omitempty"`
	Held    []mark `json:"held,omitempty"`
	Ended   []mark `json:"ended,omitempty"`
	Stopped *stop  `json:"stopped,omitempty"`
}

// start is the first entry: the sums of what was before.
type start struct {
	At       time.Time       `json:"at"`
	Currency string          `json:"currency,omitempty"` // of all money here
	Priced   bool            `json:"priced"`             // the charges of this file have money
	Known    pipeline.Charge `json:"known"`
	Unsure   pipeline.Charge `json:"unsure"`
	Unpriced pipeline.Charge `json:"unpriced"` // of known and unsure, tokens that nobody has priced
	Rows     pipeline.Usage  `json:"rows"`     // of sessions that did not count, as far as they are in known
}

// stop is where a run has stopped.
type stop struct {
	Place string `json:"place"` // of the record whose call did not fit
	pipeline.Charge
	Under string `json:"under"` // the bounds and prices that it did not fit under
}

// under tells whether a session is like another in all that decides what fits.
func (l *Ledger) under() string {
	return fmt.Sprint(l.opt.MaxMoney, l.opt.MaxTokens, l.opt.Counting, l.meter())
}

// mark is a hold, or what became of it.
type mark struct {
	ID int64 `json:"id"`
	pipeline.Charge
}

// Open takes up the count of a run, or begins it. The caller holds the lock of the run. An error that wraps
// [journal.ErrCorrupt] or is a *[RefusedError] means that the file cannot be used; it is left as it is.
func Open(opt Options) (*Ledger, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Notice == nil {
		opt.Notice = func(string) {}
	}
	l := &Ledger{opt: opt, open: map[int64]pipeline.Charge{}, group: new(group)}
	if opt.Path == "" {
		return l, nil
	}
	begun, err := l.replay()
	if err != nil {
		return nil, err
	}
	if err := l.takeUp(begun); err != nil {
		return nil, err
	}
	l.disk.Lock()
	defer l.disk.Unlock()
	if err := l.replace(); err != nil {
		return nil, err
	}
	return l, nil
}

// A RefusedError is why a file cannot be used, although it is not damaged.
type RefusedError struct{ Reason string }

// Error is the reason, in one line.
func (e *RefusedError) Error() string { return e.Reason }

// replay reads the file that is there. What was held and has not ended when its session did counts as spent.
func (l *Ledger) replay() (begun *start, err error) {
	f, err := l.opt.FS.OpenPrivate(l.opt.Path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing has begun
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, _, err = journal.ReplayStrict(l.opt.Path, f, func(_ int64, entry []byte) error {
		var e line
		d := json.NewDecoder(bytes.NewReader(entry))
		d.DisallowUnknownFields() // a hold that is not understood would not be counted
		if err := d.Decode(&e); err != nil {
			return &RefusedError{fmt.Sprintf("an entry of another version: %v", err)}
		}
		if e.Start != nil {
			begun = e.Start
			l.known, l.unsure = begun.Known, begun.Unsure
		} else if begun == nil {
			return errors.New("the first entry has no sums")
		}
		l.apply(&e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if begun == nil { // it is only ever renamed to its place whole
		return nil, &RefusedError{l.opt.Path + ": is empty, and says nothing of what this run has spent"}
	}
	for _, c := range l.open {
		l.unsure = plus(l.unsure, c)
	}
	clear(l.open)
	return begun, nil
}

// apply takes in an entry. What comes twice, because the file was replaced between it and its group, counts once.
func (l *Ledger) apply(e *line) {
	if e.Stopped != nil {
		l.stopped = e.Stopped
	}
	for _, m := range e.Held {
		l.open[m.ID] = m.Charge
	}
	for _, m := range e.Ended {
		if _, ok := l.open[m.ID]; ok {
			delete(l.open, m.ID)
			l.known = plus(l.known, m.Charge)
		}
	}
}

// takeUp adds what the file does not know: what sessions have spent that did not count, as far as rows tell, and what was
// counted before there were prices.
func (l *Ledger) takeUp(begun *start) error {
	rows := l.opt.Rows.All
	l.currency = l.opt.Currency
	if begun != nil {
		if begun.Currency != "" && l.currency != "" && begun.Currency != l.currency {
			return &RefusedError{fmt.Sprintf("%s: what this run has spent was counted in %s, the prices are in %s now", l.opt.Path, begun.Currency, l.currency)}
		}
		if l.currency == "" {
			l.currency = begun.Currency
		}
		rows = without(l.opt.Rows.Uncounted, begun.Rows)
		l.unpriced = begun.Unpriced
		if !begun.Priced {
			since := minus(plus(l.known, l.unsure), plus(begun.Known, begun.Unsure))
			l.unpriced = plus(l.unpriced, pipeline.Charge{Input: since.Input, Output: since.Output})
		}
	}
	l.rows = l.opt.Rows.Uncounted
	if l.stopped != nil && l.stopped.Under != l.under() {
		l.stopped = nil
	}
	c := pipeline.Charge{Input: rows.InputTokens + rows.CacheReadInputTokens + rows.CacheWriteInputTokens, Output: rows.OutputTokens}
	l.known = plus(l.known, c)
	l.unpriced = plus(l.unpriced, c)
	if tokens(c) > 0 {
		l.opt.Notice(fmt.Sprintf("earlier sessions did not count what they spent: the %s tokens in their rows count; failed calls, and answers that were cut before they were stored, are not known",
			words.Count(tokens(c))))
	}
	l.atLeastRows()
	if l.opt.Meter != nil {
		// Which of the prices held for each call is not known any more: the dearest do.
		l.known.Money = add(l.known.Money, l.meter().Most(l.unpriced.Input, l.unpriced.Output, true))
		l.unpriced = pipeline.Charge{}
	}
	return nil
}

// atLeastRows counts what rows tell where the file tells less. Every answer had a durable hold before it was asked for, so no crash brings
// that about: the file was cut.
func (l *Ledger) atLeastRows() {
	all, counted := l.opt.Rows.All, plus(l.known, l.unsure)
	lost := pipeline.Charge{
		Input:  max(0, all.InputTokens+all.CacheReadInputTokens+all.CacheWriteInputTokens-counted.Input),
		Output: max(0, all.OutputTokens-counted.Output),
	}
	if tokens(lost) == 0 {
		return
	}
	l.known, l.unpriced = plus(l.known, lost), plus(l.unpriced, lost)
	l.opt.Notice(fmt.Sprintf("%s tells of less than the rows: %s tokens more count as spent, and calls that failed since are not known; was it cut, or put back from before?",
		l.opt.Path, words.Count(tokens(lost))))
}

func without(a, b pipeline.Usage) pipeline.Usage {
	return pipeline.Usage{
		InputTokens: max(0, a.InputTokens-b.InputTokens), OutputTokens: max(0, a.OutputTokens-b.OutputTokens),
		CacheReadInputTokens:  max(0, a.CacheReadInputTokens-b.CacheReadInputTokens),
		CacheWriteInputTokens: max(0, a.CacheWriteInputTokens-b.CacheWriteInputTokens),
	}
}

// replace puts a file in place that has the sums and the holds that have not ended. The caller holds disk.
func (l *Ledger) replace() error {
	path, tmp := l.opt.Path, atomicfile.TempName(l.opt.Path)
	if err := l.opt.FS.RemoveTemp(path); err != nil {
		return err
	}
	next, err := journal.Open(tmp, l.opt.FS, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(next.Append(l.sums()), next.Sync(), next.Close()); err != nil {
		return err
	}
	if l.journal != nil { // a system may not replace a file that is open
		_ = l.journal.Close()
		l.journal = nil
	}
	if err := l.opt.FS.Commit(tmp, path); err != nil {
		return err
	}
	if err := l.openFile(); err != nil {
		return err
	}
	l.limit = l.journal.Size() + growth
	return nil
}

// write appends a line. The caller holds disk.
func (l *Ledger) write(e line) error {
	if err := l.openFile(); err != nil {
		return err
	}
	return l.journal.Append(e)
}

// openFile opens the file, unless it is open: where that failed after it was replaced, whoever comes next tries again.
func (l *Ledger) openFile() error {
	if l.journal != nil {
		return nil
	}
	file, err := journal.Open(l.opt.Path, l.opt.FS, nil)
	if err != nil {
		return err
	}
	l.journal = file
	return nil
}

// sums is the first entry of a file.
func (l *Ledger) sums() line {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := line{Start: &start{
		At: l.opt.Now().UTC().Truncate(time.Microsecond), Currency: l.currency, Priced: l.opt.Meter != nil,
		Known: l.known, Unsure: l.unsure, Unpriced: l.unpriced, Rows: l.rows,
	}}
	e.Stopped = l.stopped
	for _, id := range slices.Sorted(maps.Keys(l.open)) {
		e.Held = append(e.Held, mark{id, l.open[id]})
	}
	return e
}
