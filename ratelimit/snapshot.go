package ratelimit

import (
	"math"
	"time"
)

// What a limiter may be bound by; see [Snapshot].
const (
	BoundByInput       = "input"       // nobody waits here: there are no more requests at the moment
	BoundByConcurrency = "concurrency" // as many streams are in flight as [Options] allows
	BoundByStreams     = "streams"     // as many are as the service bears, which is fewer
	BoundByRequests    = "requests"    // requests per minute
	BoundByTokens      = "tokens"      // tokens per minute
	BoundByDay         = "day"         // tokens per day
	BoundByService     = "service"     // a pause after the service refused a request
	BoundByOutage      = "outage"      // the service answers nobody, and the caller waits for it: see [Limiter.Out]
)

// A Snapshot is the state of a [Limiter] at one moment.
type Snapshot struct {
	// Binding is what the first request in the queue waits for, or the next one would, one of the BoundBy constants.
	Binding string
	// InFlight is the number of permits that have not ended.
	InFlight int
	// Waiting is the number of calls of Acquire that wait.
	Waiting int
	// ConcurrencyLimit is how many streams may be in flight now.
	ConcurrencyLimit int
	// RequestsPerMinute is the pace of requests now; 0: none is set.
	RequestsPerMinute float64
	// TokensPerMinute is the pace of tokens now, as settled; 0: none is set.
	TokensPerMinute float64
	// Reachable is the share of a stated TokensPerMinute that requests like the last ones can use, from 0 to
	// 1: what they reserve and do not use is lost to others until they end. A smaller max_tokens raises it.
	Reachable float64
	// InputError is how far the estimates of the last inputs, corrected by what inputs turned out to be on average, were off:
	// the mean of |estimate − real| / real; 0 while unknown.
	InputError float64
	// MaxTokens is the mean of what the last requests reserved for their output, in tokens; 0 while unknown.
	MaxTokens float64
	// OutputP99 is what 99 of 100 outputs do not pass, in tokens before burndown, to a tenth; 0 while unknown.
	OutputP99 float64
	// EnoughMaxTokens is about two and a half times OutputP99: a max_tokens that would cut hardly any output. 0: too little
	// is known, or what is reserved is no more. ReachableThen is what Reachable would be with it.
	EnoughMaxTokens int64
	ReachableThen   float64
	// MayBeMore says that a stated quota of tokens or requests was what held everything back for minutes without one
	// refusal, so the real one may be higher: see [Options.Probe].
	MayBeMore bool
	// RefusedAboveTokens and RefusedAboveRequests are the rates per minute that the service refuses to pass, as the last refusals agree,
	// where clearly more is stated; 0: no such thing is known. Other programs on the same account may use the rest.
	RefusedAboveTokens, RefusedAboveRequests float64
	// HoldUntil is when requests may go again after a refusal; zero: they may now.
	HoldUntil time.Time
	// Throttled counts the permits that ended in [Permit.Throttled].
	Throttled int64
	// Waited says for how long each of the BoundBy constants was what held the queue, since the limiter was
	// made. It sums to the limiter's age; BoundByInput is the time in which nobody waited, there was room for more and the service was not out.
	Waited map[string]time.Duration
}

// Share returns the part of the time in which cause was what held the queue, from 0 to 1.
func (s Snapshot) Share(cause string) float64 {
	var all time.Duration
	for _, d := range s.Waited {
		all += d
	}
	if all == 0 {
		return 0
	}
	return float64(s.Waited[cause]) / float64(all)
}

// Snapshot tells how the limiter stands. It is meant to be called now and then, not for each request.
func (l *Limiter) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	c := l.core
	c.account(now)
	s := Snapshot{
		Binding:              causeNames[c.told()],
		InFlight:             c.inFlight,
		Waiting:              l.waiting,
		ConcurrencyLimit:     int(c.streams.limit),
		RequestsPerMinute:    perMinute(c.requestPace.x),
		TokensPerMinute:      perMinute(c.tokenPace.x),
		Reachable:            c.predict.reachable(),
		InputError:           c.predict.errors,
		MaxTokens:            c.predict.most,
		OutputP99:            c.predict.outputs.quantile(0.99),
		MayBeMore:            c.mayBeMore(),
		RefusedAboveTokens:   c.refusedAbove(now, &c.tokenPace),
		RefusedAboveRequests: c.refusedAbove(now, &c.requestPace),
		Throttled:            c.refused,
		Waited:               make(map[string]time.Duration, causes),
	}
	s.EnoughMaxTokens, s.ReachableThen = c.predict.advise()
	for i, d := range c.waits {
		s.Waited[causeNames[i]] = d
	}
	for _, h := range [...]*hold{&c.service, &c.daily} {
		if h.due && h.until.After(now) && h.until.After(s.HoldUntil) {
			s.HoldUntil = h.until
		}
	}
	return s
}

func perMinute(x float64) float64 {
	if math.IsInf(x, 1) {
		return 0
	}
	return x * minute
}
