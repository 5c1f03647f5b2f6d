package pipeline

import (
	"math"
	"time"
)

const (
	// trickle is how many retries a second go whatever else does, so that none waits for ever.
	trickle = 0.1
	// drySpell is how long the source may let us wait until it counts as having nothing new.
	drySpell = time.Second
	// earnedByAnswer is how many retries an answer lets go when nothing new can: while at least half of the calls
	// are answered their number grows with each round, and when most fail it falls to the least pace.
	earnedByAnswer = 2
)

// leastPace is how many retries a second go when nothing new can, however badly the service answers: one, or one
// a minute for each stream.
func leastPace(concurrency int) float64 { return max(1, float64(concurrency)/60) }

// A retryAccount holds what retries of overload and transient failures may still cost. Many records that fail
// at the same time must not double the load on a service that is short of capacity already (Google SRE Book, chapter 22,
// "Addressing Cascading Failures"; the law is that of Finagle's and Linkerd's retry budgets: so much for every
// new request, and a little in any case).
type retryAccount struct {
	tokens float64 // one pays for one retry
	most   float64
	at     time.Time
}

// newRetryAccount is full: one window of calls may fail together and go again at once.
func newRetryAccount(share float64, concurrency int, now time.Time) retryAccount {
	most := max(float64(healthSize(concurrency)), share)
	return retryAccount{tokens: most, most: most, at: now}
}

// flow lets in what comes by itself.
func (a *retryAccount) flow(now time.Time, perSecond float64) {
	a.earn(perSecond * now.Sub(a.at).Seconds())
	a.at = now
}

func (a *retryAccount) earn(tokens float64) { a.tokens = min(a.tokens+tokens, a.most) }

func (a *retryAccount) refill() { a.tokens = a.most }

func (a *retryAccount) spend() { a.tokens-- }

// covers reports whether a retry may go. Sums of shares are a hair short of whole numbers.
func (a *retryAccount) covers() bool { return a.tokens >= 1-1e-9 }

// due is when the next retry may go if nothing but perSecond comes in.
func (a *retryAccount) due(perSecond float64) time.Time {
	return a.at.Add(time.Duration(math.Ceil((1-a.tokens)/perSecond*1e9)) + time.Microsecond)
}

// choose is what goes next while the gate is open: retries as far as their account reaches, then whatever costs nothing of
// it, and records that fail by themselves only when nothing new can go, or when they take up too much room.
func (d *dispatcher) choose(now time.Time) *task {
	covered := d.account.covers()
	switch {
	case covered && len(d.retries) > 0:
		return d.retries[0]
	case covered && len(d.aside) > 0 && d.crowded():
		return d.aside[0]
	case len(d.ready) > 0:
		return d.ready[0]
	case len(d.aside) > 0 && d.dry(now):
		d.aside[0].free = true // the service is not what it fails by
		return d.aside[0]
	}
	return nil
}

// crowded reports whether records that were set aside keep new ones out.
func (d *dispatcher) crowded() bool { return 2*len(d.aside) >= d.maxHeld() || d.pressed() }

// pressed reports whether the reader waits for room, and half of it is taken by records that wait for their next call.
func (d *dispatcher) pressed() bool {
	if !d.budget.waits() {
		return false
	}
	var bytes int64
	for t := range d.all {
		bytes += t.rec.Size
	}
	return 2*bytes >= d.cfg.MaxBuffer
}

// dry reports whether only records that have failed can go: the input is used up, there is no room for more of it, or
// it is slow.
func (d *dispatcher) dry(now time.Time) bool {
	if d.fresh() >= 0 {
		return false
	}
	return !d.taking || d.held() >= d.maxHeld() || d.pressed() || !d.thirsty.IsZero() && now.Sub(d.thirsty) >= drySpell
}

// thirst notes since when the source was asked in vain.
func (d *dispatcher) thirst(asking bool, now time.Time) {
	switch {
	case !asking:
		d.thirsty = time.Time{}
	case d.thirsty.IsZero():
		d.thirsty = now
	}
}

// trickle is how many retries a second go by now without being earned.
func (d *dispatcher) trickle(now time.Time) float64 {
	if len(d.retries) > 0 && d.dry(now) {
		return leastPace(d.cfg.Concurrency)
	}
	return trickle
}

// unpaid counts the retries that wait for their account.
func (d *dispatcher) unpaid() int {
	if d.account.covers() {
		return 0
	}
	return len(d.retries)
}

// turns are the moments at which something held back here may go, as far as they are known.
func (d *dispatcher) turns(now time.Time) []time.Time {
	if len(d.retries)+len(d.aside) == 0 || !d.gate.open() {
		return nil
	}
	var turns []time.Time
	if !d.account.covers() {
		turns = append(turns, d.account.due(d.trickle(now)))
	}
	if !d.thirsty.IsZero() {
		turns = append(turns, d.thirsty.Add(drySpell))
	}
	return turns
}
