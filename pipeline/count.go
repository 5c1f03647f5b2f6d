package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// countTimeout bounds one question for tokens; the estimate is nearly as good.
	countTimeout = 5 * time.Second
	// countPause is how long nobody asks after the service refused to be asked so often.
	countPause = 5 * time.Second
	// countRefusals is how many records may be refused before one is counted, until the model is taken to have no count.
	countRefusals = 5
	// countFailures in a row, of any other kind, are a reason not to ask for a while: countRest, and twice as long each time.
	countFailures = 5
	countRest     = time.Minute
	countRestMost = 16 * time.Minute
)

// A counting is what the workers know together of the service's willingness to count tokens.
type counting struct {
	off      atomic.Bool  // it will not
	after    atomic.Int64 // not to be asked before, unix ns
	counted  atomic.Bool  // it has
	refusals atomic.Int64 // records refused while it had not
	failures atomic.Int64 // in a row
	rest     atomic.Int64 // the last rest for them, ns
}

// weigh replaces the estimate of a record's input by the service's own count, once, before its first attempt. Whatever goes wrong
// leaves the estimate: a count is no reason for a record to fail or to wait.
func (w *worker) weigh(gate context.Context, t *task) {
	c := &w.counting
	if !w.cfg.CountTokens || t.weighed || t.probe || c.off.Load() || time.Now().UnixNano() < c.after.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(gate, countTimeout)
	defer cancel()
	tokens, err := w.cfg.Model.(Counter).CountTokens(ctx, t.req)
	t.weighed = gate.Err() == nil // else it comes back, unsent
	if err == nil {
		t.req.InputTokens, t.req.Counted = tokens, true
		c.counted.Store(true)
		c.failures.Store(0)
		return
	}
	if gate.Err() != nil {
		return
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer in %v", countTimeout)
	}
	e, known := errors.AsType[*InvokeError](err)
	switch {
	case errors.Is(err, ErrCannotCount),
		known && e.Kind == RecordFatal && !c.counted.Load() && c.refusals.Add(1) >= countRefusals:
		if !c.off.Swap(true) {
			w.cfg.Notify(fmt.Sprintf("tokens are not counted, their number is estimated (%s)", Clip(err.Error())))
		}
	case known && e.Kind == Throttled:
		c.after.Store(time.Now().Add(countPause).UnixNano())
	case c.failures.Add(1) >= countFailures:
		w.restFromCounting(err)
	}
}

// restFromCounting lets nobody ask for a while. Those who are asking already add nothing to it.
func (w *worker) restFromCounting(err error) {
	c := &w.counting
	before := c.rest.Load()
	rest := min(max(countRest, time.Duration(2*before)), countRestMost)
	if now := time.Now().UnixNano(); now < c.after.Load() || !c.rest.CompareAndSwap(before, int64(rest)) {
		return
	}
	c.after.Store(time.Now().Add(rest).UnixNano())
	c.failures.Store(countFailures - 1) // one more after the rest is enough
	if before == 0 {
		w.cfg.Notify(fmt.Sprintf("tokens cannot be counted now, their number is estimated (%s)", Clip(err.Error())))
	}
}
