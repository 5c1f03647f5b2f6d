package ratelimit

import (
	"math"
	"time"
)

// crumb is the debt, in tokens, that counts as none: the rounding of a level in floating point.
const crumb = 1e-3

// lateSaves is how much is there at most when reservations come back late, in seconds of the rate: the smallest bucket thinkable holds it.
const lateSaves = 10

// A bucket paces tokens. Its level rises with rate, and a request may go while it is not
// negative, taking what it costs, so that none is too large. What is wrong with the cost is corrected
// later, in either direction. It saves burst at most by waiting; corrections may lift it higher.
type bucket struct {
	rate  float64 // tokens per second; +Inf: no limit
	burst float64 // tokens
	level float64 // tokens, as of last
	last  time.Time
}

// advance lets time pass.
func (b *bucket) advance(now time.Time) {
	d := now.Sub(b.last).Seconds()
	if d <= 0 { // a hold has moved last into the future
		return
	}
	b.last = now
	if math.IsInf(b.rate, 1) {
		b.level = 0
		return
	}
	if b.level < b.burst {
		b.level = min(b.burst, b.level+d*b.rate)
	}
}

// setRate changes the rate from now on, with so many seconds of it as burst.
func (b *bucket) setRate(now time.Time, rate, saves float64) {
	b.advance(now)
	if math.IsInf(b.rate, 1) && !math.IsInf(rate, 1) {
		b.level = 0
	}
	b.rate, b.burst = rate, saves*rate
}

// ready tells when a request may go; a time not after now means that it may now.
func (b *bucket) ready(now time.Time) time.Time { return b.reaches(now, 0) }

// reaches tells when there will be so much, which is not above burst.
func (b *bucket) reaches(now time.Time, level float64) time.Time {
	b.advance(now)
	if math.IsInf(b.rate, 1) {
		return now
	}
	// While last is in the future, nothing accrues before it.
	if b.level >= level-crumb && !b.last.After(now) {
		return now
	}
	at := b.last
	if at.Before(now) {
		at = now
	}
	if b.level >= level-crumb {
		return at
	}
	return at.Add(seconds((level - b.level) / b.rate))
}

// take books a cost, or gives it back where it is negative. During a pause nothing is saved, not even that.
func (b *bucket) take(now time.Time, tokens float64) {
	b.advance(now)
	if !math.IsInf(b.rate, 1) {
		b.level -= tokens
	}
	if b.last.After(now) {
		b.level = min(b.level, 0)
	}
}

// late gives back what was taken more than a minute ago, or takes more: what the service holds has filled up since, whatever it is, so
// what comes back of many at once is not all there. One may have all of its own.
func (b *bucket) late(now time.Time, tokens float64) {
	b.advance(now)
	most := max(b.level, lateSaves*b.rate-tokens)
	b.take(now, tokens)
	b.level = min(b.level, most)
}

// pause forgets what was saved, and saves nothing until the time given.
func (b *bucket) pause(now, until time.Time) {
	b.advance(now)
	b.level = min(b.level, 0)
	if until.After(b.last) {
		b.last = until
	}
}

// seconds is a duration rounded up to the next nanosecond, and an hour at most: whoever waits asks again.
func seconds(s float64) time.Duration {
	if !(s < 3600) {
		return time.Hour
	}
	return time.Duration(math.Ceil(s * 1e9))
}
