package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// unstoredMax bounds the results that wait to become durable; past it workers wait for the store.
const unstoredMax = 4096

// storeRetry is how long after a failed commit the same batch is tried again.
const storeRetry = 500 * time.Millisecond

// A storer makes results durable in groups: one group is being committed while the next one
// gathers, so that a slow disk delays what counts, not what is in flight.
type storer struct {
	*Runner
	results <-chan *Result
	changed chan<- struct{} // holds a token after Runner.storing has changed

	pending []*Result
	due     time.Time // when the next batch goes: CommitInterval after the first of pending has come, storeRetry after a failure
	failing time.Time // of the first failed commit since all that had arrived was stored; zero while commits work
	portion int       // of pending to commit at once while they fail: what fits on a full disk is kept
	lost    error     // the store failed for good
}

func (s *storer) run(ctx context.Context) error {
	batches, done := make(chan []*Result), make(chan error)
	go func() {
		defer close(done)
		for batch := range batches {
			done <- s.cfg.Store.Commit(ctx, batch)
		}
	}()
	defer func() {
		close(batches)
		for range done { // until it is closed: nothing is under way any more
		}
	}()

	var committing []*Result // handed to the store
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	open := true
	for {
		now := time.Now()
		if committing == nil && len(s.pending) > 0 && (!now.Before(s.due) || !open && s.failing.IsZero()) {
			committing = s.next()
			batches <- committing
		}
		if !open && committing == nil && len(s.pending) == 0 {
			return s.lost
		}
		in := s.results
		if !open || len(s.pending) >= unstoredMax && s.lost == nil {
			in = nil
		}
		// The timer is set anew each time: a select on one that is due already may crash the race detector of Go 1.26 in a bubble of
		// testing/synctest (golang.org/issue/78156).
		until := now.Add(time.Hour)
		if committing == nil && len(s.pending) > 0 {
			until = s.due
		}
		timer.Reset(until.Sub(now))

		select {
		case res, ok := <-in:
			if !ok {
				open = false
				continue
			}
			if s.lost != nil {
				continue // nobody can keep it: it is left, and will be sent again
			}
			if len(s.pending) == 0 {
				s.due = time.Now().Add(s.cfg.CommitInterval)
			}
			s.pending = append(s.pending, res)
			s.unstored.Add(1)
		case <-timer.C:
		case err := <-done:
			if err == nil {
				s.stored(committing)
				committing = nil
				if !s.failing.IsZero() {
					s.due = time.Now() // the rest of what could not be written
				}
				continue
			}
			if s.giveUp(err) {
				s.drop(committing)
				committing = nil
				continue
			}
			s.portion = max(len(committing)/2, 1)
			s.pending = append(committing, s.pending...)
			committing = nil
			s.due = time.Now().Add(storeRetry)
		}
	}
}

// A storeState is how the store does, as far as the dispatcher has to know.
type storeState int32

const (
	storeWorks storeState = iota
	storeFails
	storeLost
)

// say tells the dispatcher, without waiting for it: it may be handing over a result.
func (s *storer) say(state storeState) {
	s.storing.Store(int32(state))
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// stored counts a batch that is durable.
func (s *storer) stored(batch []*Result) {
	s.unstored.Add(-int64(len(batch)))
	var bytes int64
	for _, res := range batch {
		bytes += heldBy(res)
	}
	s.budget.add(-bytes)
	s.cfg.Observer.Stored(batch)
	if !s.failing.IsZero() && len(s.pending) == 0 {
		s.failing, s.portion = time.Time{}, 0
		s.cfg.Notify("the write succeeded; going on")
		s.say(storeWorks)
	}
}

// next takes the next batch from what waits.
func (s *storer) next() []*Result {
	n := len(s.pending)
	if s.portion > 0 {
		n = min(n, s.portion)
	}
	batch := s.pending[:n:n]
	s.pending = s.pending[n:]
	if len(s.pending) == 0 {
		s.pending = nil
	}
	return batch
}

// giveUp notes a failed commit. It reports true when writes have failed for as long as Drain:
// then what is not durable is lost to this run, and the run ends.
func (s *storer) giveUp(err error) bool {
	permanent := errors.Is(err, ErrPermanent)
	if s.failing.IsZero() && !permanent {
		s.failing = time.Now()
		s.cfg.Notify(fmt.Sprintf("%v: nothing more is sent; trying the write again for %v", err, s.cfg.Drain))
		s.say(storeFails)
	}
	if !permanent && time.Since(s.failing) < s.cfg.Drain {
		return false
	}
	s.lost = &StopError{Reason: StopStore, Err: err}
	s.say(storeLost)
	s.abort(s.lost)
	return true
}

func (s *storer) drop(batch []*Result) {
	s.unstored.Store(0)
	for _, res := range append(batch, s.pending...) {
		s.budget.add(-heldBy(res))
	}
	s.pending = nil
}

// encoded is the memory that a request holds beside its record: the body of a short form.
func encoded(req *Request) int64 {
	if in := req.Record.Input; in != nil && len(in) == len(req.Body) { // nothing was added to it
		return 0
	}
	return int64(len(req.Body))
}

// heldBy is what a result's record and answer were counted with in the budget.
func heldBy(res *Result) int64 {
	n := res.Record.Size
	if res.Request != nil {
		n += encoded(res.Request)
	}
	if res.Response != nil {
		n += int64(len(res.Response.Output) + len(res.Response.Text))
	}
	if res.Err != nil {
		n += int64(len(res.Partial))
	}
	return n
}
