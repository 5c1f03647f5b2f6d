package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// DefaultConcurrency is the bound of streams in flight where [Options] states none.
const DefaultConcurrency = 32

// Options configures a [Limiter]. The zero value limits streams in flight and learns the rest.
type Options struct {
	// RequestsPerMinute is the quota of requests; 0: not stated, learned from refusals.
	RequestsPerMinute float64
	// TokensPerMinute is the quota of tokens as the service counts them; 0: not stated, learned from refusals.
	TokensPerMinute float64
	// TokensPerDay is the quota of tokens in 24 hours; 0: not stated.
	TokensPerDay float64
	// Burndown is what an output token counts for when a request settles; 0: 1.
	Burndown float64
	// Concurrency is the upper bound of streams in flight; 0: [DefaultConcurrency].
	Concurrency int
	// Start is what [Limiter.Learned] told in an earlier run: the pace to begin with where nothing is stated, and whether
	// reservations count for a minute. It bounds nothing: refusals lower it, and it grows where there are none.
	Start Learned
	// Probe says to look for more than what is stated: quotas of a minute are then where to begin, and no bounds.
	Probe bool
	// Watch is told of every decision, while the limiter's lock is held: it must not block, nor call the limiter.
	Watch func(Decision)
	// Rand returns numbers in [0, 1), for jitter; nil: [rand.Float64]. It is not called concurrently.
	Rand func() float64
}

// Validate reports everything that is wrong with o, in one error.
func (o Options) Validate() error {
	err := errors.Join(
		notNegative("requests per minute", o.RequestsPerMinute),
		notNegative("tokens per minute", o.TokensPerMinute),
		notNegative("tokens per day", o.TokensPerDay),
		notNegative("burndown", o.Burndown),
	)
	if o.Concurrency < 0 || o.Concurrency > math.MaxInt32 {
		err = errors.Join(err, fmt.Errorf("concurrency: %d is not between 0 and %d", o.Concurrency, math.MaxInt32))
	}
	return err
}

func notNegative(what string, v float64) error {
	if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Errorf("%s: %v is not a finite number of at least 0", what, v)
	}
	return nil
}

// A Cost is what a request may use, known before it is sent. Negative numbers count as 0.
type Cost struct {
	Input     int64 // tokens of input, estimated
	MaxTokens int64 // the most output tokens it may produce
}

// A Usage is what a request used, in real tokens. Negative numbers count as 0.
type Usage struct {
	Input      int64 // tokens of input, those read from or written to a cache not included
	CacheRead  int64 // tokens of input read from a cache: free, but part of what an input is estimated at
	CacheWrite int64 // tokens of input written to a cache
	Output     int64 // tokens of output, before burndown
}

// A Limiter admits requests. Its methods may be called concurrently.
type Limiter struct {
	pool sync.Pool // of *waiter; not a global one, since a channel belongs to a synctest bubble

	mu         sync.Mutex
	core       *core
	head, tail *waiter // in order of arrival
	waiting    int
	timer      *time.Timer // asks again for the head of the queue
	alarm      time.Time   // when it rings; zero: it does not
}

// A waiter is a call of Acquire that waits.
type waiter struct {
	prev, next *waiter
	cost       Cost
	granted    bool
	permit     Permit
	ready      chan struct{} // one element when granted
}

// New returns a limiter, or what [Options.Validate] finds.
func New(o Options) (*Limiter, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("rate limits: %w", err)
	}
	if o.Burndown == 0 {
		o.Burndown = 1
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return &Limiter{core: newCore(o, time.Now())}, nil
}

// ExceedsMinute says whether a request reserves more tokens than the stated quota has in a whole minute, and how many both are. Such a request
// is let go when no other is in flight or was a minute ago; the service may refuse it for good. Where no quota is stated nothing exceeds it.
// It may be called concurrently.
func (l *Limiter) ExceedsMinute(c Cost) (reserves, most float64, over bool) {
	reserves, most = reserve(c), l.core.tpm
	return reserves, most, most > 0 && reserves > most
}

// Acquire waits until a request that costs c may be sent. Requests go in the order in which they
// came. It fails only when ctx ends first, with the cause of that, and then nothing is booked; but where it had been admitted in
// that moment, its turn in the pace of requests is gone.
func (l *Limiter) Acquire(ctx context.Context, c Cost) (Permit, error) {
	if ctx.Err() != nil {
		return Permit{}, context.Cause(ctx)
	}
	l.mu.Lock()
	if l.head == nil {
		now := time.Now()
		v := l.core.admit(now, c)
		if v.ok {
			p := l.permit(v)
			l.mu.Unlock()
			return p, nil
		}
		l.core.waiting(now, v)
		l.ring(now, v.at)
	}
	w := l.enqueue(c)
	l.mu.Unlock()

	select {
	case <-w.ready:
		p := w.permit
		l.recycle(w)
		return p, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	now := time.Now()
	if w.granted {
		<-w.ready
		l.core.unsend(now, w.permit.id, w.permit.gen)
	} else {
		l.remove(w)
	}
	l.pump(now)
	l.mu.Unlock()
	l.recycle(w)
	return Permit{}, context.Cause(ctx)
}

// Restore counts what an earlier run of the same job sent: so many requests that settled at so many
// tokens, burndown included, at a wall clock time in the past. What is older than a minute counts for the
// day only, what is older than a day not at all. Call it before the first Acquire, as often as needed.
func (l *Limiter) Restore(at time.Time, requests int64, tokens float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if math.IsNaN(tokens) || math.IsInf(tokens, 0) {
		tokens = 0
	}
	l.core.restore(now, now.Round(0).Sub(at.Round(0)), requests, tokens)
}

// Recovered says that what failed from a moment on failed because the service was out, whatever the load, and that it
// answers again: a limit of streams in flight that fell for it is what it was before.
func (l *Limiter) Recovered(from time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.core.recovered(now, from)
	l.pump(now)
}

// Out says whether the caller holds everything back but for single tries, since the service as a whole does not answer. It changes nothing but what the
// time is counted as: there would be requests to send.
func (l *Limiter) Out(out bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.account(time.Now())
	l.core.out = out
}

func (l *Limiter) permit(v verdict) Permit {
	return Permit{l: l, id: v.id, gen: l.core.flights[v.id].gen}
}

// pump admits from the head of the queue whoever may go, and sets the timer for the first who may not.
func (l *Limiter) pump(now time.Time) {
	for w := l.head; w != nil; w = l.head {
		v := l.core.admit(now, w.cost)
		if !v.ok {
			l.core.waiting(now, v)
			l.ring(now, v.at)
			return
		}
		l.remove(w)
		w.granted, w.permit = true, l.permit(v)
		w.ready <- struct{}{}
	}
	l.core.account(now)
	l.core.waiting(now, verdict{})
	l.ring(now, time.Time{})
}

// ring sets the timer; at is zero when it shall not ring.
func (l *Limiter) ring(now, at time.Time) {
	if at.Equal(l.alarm) {
		return
	}
	l.alarm = at
	switch {
	case at.IsZero():
		l.timer.Stop()
	case l.timer == nil:
		l.timer = time.AfterFunc(at.Sub(now), l.rang)
	default:
		l.timer.Reset(at.Sub(now))
	}
}

func (l *Limiter) rang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarm = time.Time{}
	l.pump(time.Now())
}

func (l *Limiter) enqueue(c Cost) *waiter {
	w, _ := l.pool.Get().(*waiter)
	if w == nil {
		w = &waiter{ready: make(chan struct{}, 1)}
	}
	w.cost, w.prev = c, l.tail
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
	l.waiting++
	return w
}

func (l *Limiter) remove(w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	l.waiting--
}

// recycle keeps a waiter that nobody knows any more, with its channel empty.
func (l *Limiter) recycle(w *waiter) {
	w.granted, w.permit = false, Permit{}
	l.pool.Put(w)
}

// A Permit is the right to send one request. Exactly one of its methods but FirstToken ends it; every later call, and any call on
// the zero Permit, does nothing. The methods may be called concurrently and never block.
type Permit struct {
	l       *Limiter
	id, gen uint32
}

// FirstToken says that content has come: the request was admitted, and this is how long its first token took. It does not
// end the permit. A second call does nothing.
func (p Permit) FirstToken() {
	if p.l == nil {
		return
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	now := time.Now()
	if p.l.core.firstToken(now, p.id, p.gen) {
		p.l.pump(now) // whoever waits for a stream has no timer
	}
}

// Succeed says that the request was served and what it used.
func (p Permit) Succeed(u Usage) {
	p.end(func(c *core, now time.Time) { c.succeed(now, p.id, p.gen, u) })
}

// Fail says that the request was not served, for a reason that has nothing to do with load. What u says was used counts, the
// rest of the reservation comes back.
func (p Permit) Fail(u Usage) {
	p.end(func(c *core, now time.Time) { c.fail(now, p.id, p.gen, u, false) })
}

// Unsent says that the request was not sent after all: the service knows nothing of it, so nothing is learned and all of the reservation
// comes back. Only its turn in the pace of requests is gone.
func (p Permit) Unsent() {
	p.end(func(c *core, now time.Time) { c.unsend(now, p.id, p.gen) })
}

// Throttled says that the service refused the request for want of quota, of the day's quota where daily is true. The
// reservation comes back.
func (p Permit) Throttled(daily bool) {
	p.end(func(c *core, now time.Time) { c.throttled(now, p.id, p.gen, daily) })
}

// Overloaded says that the service could not serve the request, or not in time. What u says was used counts, the rest of the
// reservation comes back, and fewer streams may be in flight from now on.
func (p Permit) Overloaded(u Usage) {
	p.end(func(c *core, now time.Time) { c.fail(now, p.id, p.gen, u, true) })
}

func (p Permit) end(how func(*core, time.Time)) {
	if p.l == nil {
		return
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	now := time.Now()
	how(p.l.core, now)
	p.l.pump(now)
}
