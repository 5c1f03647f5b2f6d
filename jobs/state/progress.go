package state

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/batchrun/batchrun/sinks"
)

// Counts are the records that are done, each counted once.
type Counts struct {
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	Rejected  int64 `json:"rejected"`
}

// Total is all that are done.
func (c Counts) Total() int64 { return c.Succeeded + c.Failed + c.Rejected }

// A Session is one opening of the run.
type Session struct {
	Opened   time.Time
	PID      int
	Host     string
	Command  string
	Settings map[string]string
}

// progress is what the journal says.
type progress struct {
	run   string // "": the files are not made yet
	since time.Time

	ok, failed, rejected *roaring64.Bitmap
	todo                 *roaring64.Bitmap // done before, to be done again in this round
	again                *roaring64.Bitmap // done in this round

	output, errors sinks.Mark // output: of the spool where the format is Parquet

	round      int
	roundOpen  bool
	roundStart int64       // size of the errors file when the round began
	rewriting  *sinks.Mark // the errors file may be replaced already

	sealed      *sealEntry // the Parquet file that stands
	sealedRound int        // the round it was sealed in, -1 before

	finished bool
	exit     int

	sessions  []Session
	used      history
	answers   Used // of all whole answers
	uncounted Used // of those, in sessions whose spending nobody counted
	counted   bool // the session at hand

	order *order // nil where the rows say themselves where they belong
}

func newProgress(now time.Time) *progress {
	return &progress{
		ok: roaring64.New(), failed: roaring64.New(), rejected: roaring64.New(),
		todo: roaring64.New(), again: roaring64.New(),
		sealedRound: -1,
		used:        history{from: now.Add(-historySpan)},
	}
}

// replay takes in one line of the journal.
func (p *progress) replay(_ int64, line []byte) error {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("an entry of another version: %w", err)
	}
	return p.apply(&e)
}

// apply takes in an entry. An entry that it refuses has changed nothing.
func (p *progress) apply(e *entry) error {
	switch e.Type {
	case entryBegin:
		p.run, p.since = e.Run, e.At
	case entryOpen:
		if s := e.Session; s != nil {
			p.sessions = append(p.sessions, Session{e.At, s.PID, s.Host, s.Command, s.Settings})
			p.counted = s.Counted
		}
	case entryCommit:
		return p.commit(e)
	case entryRound:
		p.round, p.roundOpen, p.roundStart = e.Round, true, p.errors.Size
		if p.order != nil {
			p.order.roundStart = len(p.order.errors)
		}
		p.todo, p.again = p.failed.Clone(), roaring64.New()
		p.finished, p.rewriting = false, nil
	case entrySealed:
		p.sealed, p.sealedRound, p.output = e.Seal, p.round, sinks.Mark{}
	case entryRewriting:
		p.rewriting = e.Errors
	case entryClosed:
		if p.order != nil {
			p.order.closed(p)
		}
		if e.Errors != nil {
			p.errors = *e.Errors
		}
		p.roundOpen, p.rewriting = false, nil
		p.todo, p.again = roaring64.New(), roaring64.New()
	case entryFinished:
		p.finished, p.exit = true, e.Exit
	default:
		return fmt.Errorf("an entry of another version: type %q", e.Type)
	}
	return nil
}

func (p *progress) commit(e *entry) error {
	ranges := []string{e.OK, e.Failed, e.Rejected}
	batch := roaring64.New()
	for _, r := range ranges {
		err := eachRange(r, func(first, last int64) error {
			for pos := first; pos <= last; pos++ {
				if p.done(pos) || !batch.CheckedAdd(uint64(pos)) {
					return fmt.Errorf("position %d: %w", pos, ErrAlreadyDone)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i, r := range ranges {
		to := []*roaring64.Bitmap{p.ok, p.failed, p.rejected}[i]
		_ = eachRange(r, func(first, last int64) error {
			end := uint64(last) + 1
			for _, from := range []*roaring64.Bitmap{p.failed, p.rejected, p.todo} {
				if !from.IsEmpty() {
					from.RemoveRange(uint64(first), end)
				}
			}
			to.AddRange(uint64(first), end)
			if p.roundOpen {
				p.again.AddRange(uint64(first), end)
			}
			return nil
		})
	}
	if p.order != nil {
		p.order.commit(e)
	}
	if e.Output != nil {
		p.output = *e.Output
	}
	if e.Errors != nil {
		p.errors = *e.Errors
	}
	if e.Used != nil {
		p.used.add(e.At, *e.Used)
		p.answers.add(*e.Used)
		if !p.counted {
			p.uncounted.add(*e.Used)
		}
	}
	return nil
}

// done tells whether a position is not to be sent. A record that succeeded never is again.
func (p *progress) done(pos int64) bool {
	x := uint64(pos)
	return p.ok.Contains(x) || (p.failed.Contains(x) || p.rejected.Contains(x)) && !p.todo.Contains(x)
}

func (p *progress) counts() Counts {
	return Counts{
		Succeeded: int64(p.ok.GetCardinality()),
		Failed:    int64(p.failed.GetCardinality()),
		Rejected:  int64(p.rejected.GetCardinality()),
	}
}

// historySpan is how long a limiter may want to look back: the longest quota is a day's.
const historySpan = 24 * time.Hour

// history keeps what was used, by the minute and no longer than a day.
type history struct {
	from    time.Time
	minutes []usedMinute
}

// A usedMinute was used in one minute of the clock.
type usedMinute struct {
	at time.Time // the last of it: so it counts rather for longer than for less long
	Used
}

func (h *history) add(at time.Time, u Used) {
	if at.Before(h.from) || u == (Used{}) {
		return
	}
	if n := len(h.minutes); n > 0 {
		last := &h.minutes[n-1]
		if minute := at.Truncate(time.Minute); !minute.After(last.at.Truncate(time.Minute)) {
			last.add(u) // also if the clock was set back
			if at.After(last.at) {
				last.at = at
			}
			return
		}
	}
	if n := len(h.minutes); n >= 2*int(historySpan/time.Minute) {
		h.minutes = append(h.minutes[:0], h.minutes[n/2:]...)
	}
	h.minutes = append(h.minutes, usedMinute{at, u})
}
