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
	oldest  time.Time // arrival of the first of pending
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
	due := time.NewTimer(time.Hour)
	due.Stop()
	open := true
	for {
		if committing == nil && len(s.pending) > 0 && !open && s.failing.IsZero() {
			committing = s.handOver(batches, due)
		}
		if !open && committing == nil && len(s.pending) == 0 {
			return s.lost
		}
		in := s.results
		if !open || len(s.pending) >= unstoredMax && s.lost == nil {
			in = nil
		}
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
				s.oldest = time.Now()
				if committing == nil {
					due.Reset(s.cfg.CommitInterval)
				}
			}
			s.pending = append(s.pending, res)
			s.unstored.Add(1)
		case <-due.C:
			committing = s.handOver(batches, due)
		case err := <-done:
			if err == nil {
				s.stored(committing)
				committing = nil
				if len(s.pending) == 0 {
					continue
				}
				// A select on a timer that is due already may crash the race detector of Go 1.26 in a bubble of testing/synctest.
				if wait := s.patience(); wait > 0 {
					due.Reset(wait)
				} else {
					committing = s.handOver(batches, due)
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
			due.Reset(storeRetry)
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

// handOver gives the next batch to the store, and says which: nil when nothing is pending. Nothing else is due then.
func (s *storer) handOver(batches chan<- []*Result, due *time.Timer) []*Result {
	due.Stop()
	batch := s.next()
	if batch != nil {
		batches <- batch
	}
	return batch
}

// patience is how long the oldest result may still wait for its batch.
func (s *storer) patience() time.Duration {
	if !s.failing.IsZero() {
		return 0
	}
	return s.cfg.CommitInterval - time.Since(s.oldest)
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
