package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// A task is a record on its way through attempts. It belongs to the dispatcher, or to the
// worker it was handed to.
type task struct {
	rec *Record
	req *Request

	weighed bool // its input tokens are the service's own count, or will not be

	asked bool   // what a call of it can cost is known
	most  Charge // and is this
	held  Hold   // and is taken on, until a worker has it

	order     int // among the records sent, from 1; the dispatcher's
	firstSent int // among the calls sent, its first
	sent      int // among the calls sent, its last

	attempts int       // failed ones that count
	first    time.Time // first attempt's start
	due      time.Time // when it may go again
	failure  *InvokeError
	failedIn Timing
	partial  string // the longest half answer

	failedAt time.Time // when it failed last
	own      bool      // it failed while others, sent later, were answered: the fault may be its own
	counted  bool      // a failure of it is or was in the health window

	spared bool // it was out of attempts, and goes once more

	owes bool // its next call is a retry, to be paid from the retry account
	paid bool // and was, for the call under way
	free bool // it goes although it does not pay

	throttles     int   // refusals that were this record's own
	throttleRow   int   // refusals in a row, for its backoff
	lastAdmission int64 // admissions.seq at its last refusal

	probe        bool          // goes although nothing else may
	probeTimeout time.Duration // first-token timeout of a probe
}

// reservation is what the service holds while the call runs, in tokens.
func (t *task) reservation() int64 {
	if t.req == nil {
		return 0
	}
	return t.req.InputTokens + t.req.MaxTokens
}

// An outcome is what a worker tells the dispatcher of a task.
type outcome struct {
	task     *task
	admitted bool // the call was made; otherwise nothing happened to the record
	fault    *Fault
	stop     error // why no call of the run can be made; admitted is false
	err      *InvokeError
	response *Response
	timing   Timing
	alone    bool // nothing else was in flight when it was sent
}

// A worker makes one attempt at a time.
type worker struct {
	*Runner
	silentSince atomic.Int64 // start or last event of the attempt in flight, unix ns; 0 when there is none
	begun       atomic.Bool  // its first content has come
	gaps        []time.Duration
	sorted      []time.Duration
}

func (w *worker) run(tasks <-chan *task, outcomes chan<- outcome) {
	for t := range tasks {
		outcomes <- w.attempt(t)
	}
}

// warnTooLarge tells, once a run, of a record that the stated quota has no minute for: the service may refuse it whenever it is sent, and being
// throttled costs no attempt, so that it would be tried all night.
func (w *worker) warnTooLarge(t *task, cost ratelimit.Cost) {
	reserves, most, over := w.cfg.Limiter.ExceedsMinute(cost)
	if !over {
		return
	}
	w.tooLarge.Do(func() {
		w.cfg.Notify(fmt.Sprintf("%s reserves %.0f tokens, more than the %.0f of a whole minute: such records go alone, and the service may refuse them for good; "+
			"a smaller max_tokens reserves less", t.rec.Place(), reserves, most))
	})
}

// attempt encodes a record if nobody has, waits for a permit and makes one call.
func (w *worker) attempt(t *task) outcome {
	if t.req == nil {
		req, err := w.cfg.Model.Encode(t.rec)
		if err != nil {
			return outcome{task: t, fault: faultOf(err)}
		}
		t.req = req
		w.budget.add(encoded(req))
	}
	gate := w.admission()
	if t.probe {
		gate = w.halt
	}
	w.weigh(gate, t)
	cost := ratelimit.Cost{Input: t.req.InputTokens, MaxTokens: t.req.MaxTokens}
	w.warnTooLarge(t, cost)
	// Before the permit: whoever waits for room must hold nothing that others wait for.
	held, stop := w.hold(t)
	if held == nil {
		return outcome{task: t, stop: stop}
	}
	permit, err := w.cfg.Limiter.Acquire(gate, cost)
	if err != nil {
		held.Release()
		return outcome{task: t}
	}
	if err := w.cfg.Model.Prepare(gate); err != nil {
		held.Release()
		permit.Unsent()
		if gate.Err() != nil {
			return outcome{task: t}
		}
		return outcome{task: t, admitted: true, err: asInvokeError(err)}
	}

	if err := held.Journal(); err != nil {
		held.Release()
		permit.Unsent()
		return outcome{task: t, stop: &StopError{Reason: StopStore, Err: err, Detail: "what a call may cost could not be noted before it was sent"}}
	}

	o := outcome{task: t, admitted: true, alone: w.inFlight.Add(1) == 1}
	w.cfg.Observer.AttemptStarted()
	o.response, o.timing, o.err = w.call(t, permit)
	w.inFlight.Add(-1)
	bill(held, &o)
	w.settle(permit, t, &o)
	seen := Attempt{Err: o.err, Timing: o.timing}
	if o.response != nil {
		seen.Usage, seen.Gaps = o.response.Usage, w.gaps
	}
	w.cfg.Observer.AttemptDone(&seen)
	return o
}

// call makes the call and keeps its clock.
func (w *worker) call(t *task, permit ratelimit.Permit) (*Response, Timing, *InvokeError) {
	ctx, cancel := context.WithCancelCause(w.hard)
	defer cancel(nil)

	start := time.Now()
	if t.first.IsZero() {
		t.first = start
	}
	dog := watchdog{start: start, firstToken: w.cfg.FirstTokenTimeout, idle: w.cfg.IdleTimeout, attempt: w.cfg.Timeout, cancel: cancel}
	if t.probe && t.probeTimeout > 0 {
		dog.firstToken = min(dog.firstToken, t.probeTimeout)
	}
	w.begun.Store(false)
	w.silentSince.Store(start.UnixNano())
	defer w.silentSince.Store(0)
	dog.run()
	defer dog.stop()

	timing := Timing{
		Started: start, Queued: t.first.Sub(t.rec.ReadAt),
		FirstToken: -1, FirstText: -1, Total: -1, Elapsed: -1,
		InterTokenP50: -1, InterTokenMax: -1, ServerFirstByte: -1, ServerTotal: -1,
	}
	w.gaps = w.gaps[:0]
	var lastContent time.Duration
	var response *Response
	for ev, err := range w.cfg.Model.Invoke(ctx, t.req) {
		if err != nil {
			failure := w.ownTimeout(ctx, asInvokeError(err), time.Since(start))
			failure.Content = failure.Content || timing.FirstToken >= 0
			return nil, timing, failure
		}
		age := time.Since(start)
		dog.last.Store(int64(age))
		w.silentSince.Store(start.UnixNano() + int64(age))
		if ev.Content {
			if timing.FirstToken < 0 {
				timing.FirstToken = age
				dog.content.Store(true)
				w.begun.Store(true)
				permit.FirstToken()
			} else {
				w.gaps = append(w.gaps, age-lastContent)
			}
			lastContent = age
		}
		if ev.Text && timing.FirstText < 0 {
			timing.FirstText = age
		}
		if ev.Terminal && timing.Total < 0 {
			timing.Total = age
			timing.Elapsed = start.Add(age).Sub(t.first)
		}
		if ev.Response != nil {
			response = ev.Response
		}
	}
	if response == nil || timing.Total < 0 {
		// A model that ends without either has not kept its contract; that is never an answer.
		return nil, timing, &InvokeError{Kind: Transient, Type: TypeTruncatedStream, Message: "the stream ended without its last event", Content: timing.FirstToken >= 0}
	}
	timing.Connect = response.Connect
	timing.ServerFirstByte, timing.ServerTotal = response.ServerFirstByte, response.ServerTotal
	if len(w.gaps) > 0 {
		w.sorted = append(w.sorted[:0], w.gaps...)
		slices.Sort(w.sorted)
		timing.InterTokenP50 = w.sorted[(len(w.sorted)-1)/2]
		timing.InterTokenMax = w.sorted[len(w.sorted)-1]
	}
	return response, timing, nil
}

// ownTimeout gives the attempt's end its real name: what the transport says after we cut it
// depends on the protocol (seen with bedrockruntime v1.63.11), so the cause is asked first.
func (w *worker) ownTimeout(ctx context.Context, e *InvokeError, age time.Duration) *InvokeError {
	if ctx.Err() == nil {
		return e
	}
	relabel := func(kind, hint string) *InvokeError {
		e.Kind, e.Type, e.Code = Overload, kind, 0
		e.Message = fmt.Sprintf("%v after %s; raise %s if the model may take that long", context.Cause(ctx), age.Round(time.Millisecond), hint)
		return e
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errFirstTokenTimeout):
		return relabel(TypeFirstTokenTimeout, "--first-token-timeout")
	case errors.Is(cause, errIdleTimeout):
		return relabel(TypeIdleTimeout, "--idle-timeout")
	case errors.Is(cause, errAttemptTimeout):
		return relabel(TypeAttemptTimeout, "--timeout")
	}
	e.Kind = Interrupted
	return e
}

// settle ends the permit with what the call is taken to have used.
func (w *worker) settle(p ratelimit.Permit, t *task, o *outcome) {
	if o.err == nil {
		u := o.response.Usage
		p.Succeed(ratelimit.Usage{Input: u.InputTokens, CacheRead: u.CacheReadInputTokens, CacheWrite: u.CacheWriteInputTokens, Output: u.OutputTokens})
		return
	}
	// The service says nothing of what a broken stream has cost. What was received is the
	// least of it, at the four bytes a token that the estimates go by.
	var used ratelimit.Usage
	if o.err.Content {
		used = ratelimit.Usage{Input: t.req.InputTokens, Output: int64(len(o.err.Partial)+3) / 4}
	}
	switch {
	case o.err.Kind == Throttled:
		p.Throttled(o.err.Daily)
	case o.err.Kind == Overload && !t.probe: // a probe that fails says that the outage lasts, not how much the service takes
		p.Overloaded(used)
	default:
		p.Fail(used)
	}
}

func asInvokeError(err error) *InvokeError {
	if e, ok := errors.AsType[*InvokeError](err); ok {
		return e
	}
	return &InvokeError{Kind: Transient, Type: TypeConnectionError, Message: err.Error(), Err: err}
}

func faultOf(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return &Fault{Type: TypeInvalidRecord, Message: err.Error()}
}
